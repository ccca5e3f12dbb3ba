#!/usr/bin/env bash
# For the browser tests: Debian's chromium and its driver, where apt-get and root are at hand. Without them those tests are skipped.
set -u

if command -v chromedriver >/dev/null && { command -v chromium || command -v chromium-browser || command -v google-chrome; } >/dev/null
then
    exit 0
fi
if ! command -v apt-get >/dev/null || [ "$(id -u)" -ne 0 ]; then
    echo "No chromium and chromedriver here, and no root and apt-get to install them: browser tests are skipped"
    exit 0
fi
log=$(mktemp)
echo "Installing chromium for the browser tests (apt-get, about 120 MB to download)"
if { timeout 300 apt-get -qq update &&
     DEBIAN_FRONTEND=noninteractive timeout 600 apt-get -qq -y --no-install-recommends install chromium chromium-driver; } \
        </dev/null >"$log" 2>&1; then
    rm -f "$log"
else
    echo "chromium could not be installed ($(tail -n 1 "$log"); all of it: $log): browser tests are skipped"
fi
