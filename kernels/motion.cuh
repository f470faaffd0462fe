// How a Motion lies in one vector, and the performance vector before it: engine/motion/frame.py and performance.py.

#define ACTIONS 52
#define RESIDUAL 8
#define JOINTS 12
#define LIP_AT 52
#define GAZE_AT 60
#define HEAD_AT 62
#define JOINTS_AT 68
#define MOTION 104

// A performance: ACTIONS of the face, then these.
#define ROW_GAZE_AT 52
#define ROW_HEAD_AT 54
#define ROW_JOINTS_AT 60
#define PERFORMANCE 96
