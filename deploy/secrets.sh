#!/bin/sh
# Makes the secrets that are not there yet. Nobody but containers that are given one reads it.
set -eu
cd "$(dirname "$0")"
mkdir -p secrets
chmod 700 secrets
for name in visavis_token metrics_token turn_secret grafana_password; do
  [ -s "secrets/$name" ] || (umask 022; openssl rand -hex 24 > "secrets/$name")
done
echo "The page: https://<your domain>/#token=$(cat secrets/visavis_token)"
