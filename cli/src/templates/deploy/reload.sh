#!/usr/bin/env bash
# Tells the service that $ROOT/current has changed. Edit this, for example:
#   systemctl reload-or-restart app.service
set -euo pipefail
echo "nothing to reload: edit reload.sh"
