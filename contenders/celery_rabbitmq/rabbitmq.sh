#!/bin/sh
# Runs the unpacked RabbitMQ in the foreground, on loopback, with everything that it writes in the working directory.
# UNPACKED, and the ports PORT, DIST_PORT and ERL_EPMD_PORT, come from the environment.
set -e
# Debian's `erl` looks for Erlang in /usr/lib, so erlexec takes its place.
export ROOTDIR="$UNPACKED/usr/lib/erlang" EMU=beam PROGNAME=erl
BINDIR=$(echo "$ROOTDIR"/erts-*/bin)
export BINDIR
ln -sf "$BINDIR/erlexec" erl
export PATH="$PWD:$BINDIR:$PATH" HOME="$PWD"

export RABBITMQ_NODENAME=rabbit@localhost RABBITMQ_NODE_IP_ADDRESS=127.0.0.1
export RABBITMQ_NODE_PORT="$PORT" RABBITMQ_DIST_PORT="$DIST_PORT"
export RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS="-kernel inet_dist_use_interface {127,0,0,1}"
export RABBITMQ_MNESIA_BASE="$PWD/mnesia" RABBITMQ_LOGS=- RABBITMQ_PID_FILE="$PWD/pid"
export RABBITMQ_ENABLED_PLUGINS_FILE="$PWD/plugins" RABBITMQ_FEATURE_FLAGS_FILE="$PWD/feature_flags"
# None of these exist: the server's own defaults, whatever /etc/rabbitmq says.
export RABBITMQ_CONF_ENV_FILE="$PWD/none" RABBITMQ_CONFIG_FILE="$PWD/none" RABBITMQ_ADVANCED_CONFIG_FILE="$PWD/none"

# Erlang's port mapper would be started by the `erl` of /usr/lib.
export ERL_EPMD_ADDRESS=127.0.0.1
epmd -daemon
exec "$UNPACKED/usr/lib/rabbitmq/bin/rabbitmq-server"
