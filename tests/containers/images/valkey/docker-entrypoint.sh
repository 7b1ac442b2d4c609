#!/bin/sh
# The Compose files name the user and the whole command.
exec "$@"
