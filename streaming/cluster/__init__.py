"""Many workers on many machines behind one address: on Ray (extra ``cluster``), which places and restarts processes."""
