#!/bin/sh
# Prints the users of Redis (7.2 or later) or Valkey as an ACL file, with the least rights that each role needs.
#
#   sh deploy/users.sh > users.acl; valkey-server --aclfile users.acl
#
# Passwords come from the environment and are printed as hashes. docs/security.md describes the users.
set -euf

hash() { printf %s "$1" | { sha256sum 2>/dev/null || shasum -a 256; } | cut -c-64; }

# user NAME PASSWORD RULE...: allows only the rules and the commands of every connection. MONITOR, KEYS, FLUSHALL,
# CONFIG, DEBUG, ACL, … are for the administrator only.
user() {
    name=$1 secret=$(hash "$2")
    shift 2
    echo "user $name on #$secret resetkeys resetchannels -@all" \
        "+@connection +@transaction -@admin -@dangerous +time +cluster|slots $*"
}

# keys PERMISSION NAME...: key patterns with a permission: %R read, %W write, %RW both.
keys() {
    permission=$1
    shift
    for name in "$@"; do printf '%s~%s ' "$permission" "$name"; done
}

# Values begin with the namespace of their table, and the tag of their partition in braces; those without a namespace with inv.
values=
for namespace in ${VALKEY_NAMESPACES:-inv}; do values="$values $namespace:* $namespace{*}:*"; done
# Channels begin with the number of the broker's database.
channel="/${VALKEY_BROKER_DATABASE:-0}."

# The state of the schedule: every key of the scripts except the values.
state=$(keys %RW 'schedule:*' 'delay:*' 'refreshed:*' 'changed:*' 'failures:*' 'wake:*' 'state:*' 'stats:*' \
    'expiring:*' 'queue:*' 'home:*' 'layout:*' 'processes:*' 'fill:*' 'notes:*' 'outcomes:*' 'asked:*' 'position:*')
scripts='+evalsha +eval'
rows='+zadd +zrem +zrange +zremrangebyscore +zscore +zmscore +zcard +zcount +hget +hmget +hgetall +hset +hdel +hlen +hincrby +del +persist +rpush +llen +exists +zremrangebyrank +smismember +lpush +ltrim'

# The broker: a part (…) of a user, with its own keys and channels. All commands that read or write keys are allowed on
# them, since each release of kombu may use others. Those without a key, or for all keys, are not.
broker='+@read +@write +@blocking +@pubsub +@transaction -@admin -@dangerous -@scripting -scan -randomkey -dbsize'
# Sending: find the queues that are bound to an exchange, put a message into one, publish an event for Flower.
send="$(keys %RW '_kombu.*') &${channel}celeryev/* $broker"
# `inspect` and Flower: a mailbox that all processes receive, and replies that only the sender reads. Each process that
# waits for messages also restores the messages of killed workers.
asked="$(keys %RW '*.celery.pidbox*' 'unacked*') &${channel}celery.pidbox $send $scripts +script|load +script|exists"

# administrator: for people.
echo "user default on #$(hash "${VALKEY_PASSWORD:?}") ~* &* +@all"

# reader: RowCache only. Reads values and their ages.
read='+get +mget +exists +zscore +zmscore'
user reader "${VALKEY_READER_PASSWORD:?}" "$(keys %R $values 'refreshed:*') $read"

# application: sends tasks, with the time of the server as stamp, and reads values. Changes no schedule and no value.
user application "${VALKEY_APPLICATION_PASSWORD:?}" "$(keys %R $values 'refreshed:*') $read" \
    "($(keys %W 'rowcache.*') $send)"

# filler: an application that also fills missing rows from the database (read-through) and touches rows without a task.
# Writes values and the schedule.
user filler "${VALKEY_FILLER_PASSWORD:?}" "$state $(keys %RW $values)" \
    "$read $scripts +set +del +zadd +zrem +hget +hmget +hset +hdel +hincrby +rpush +llen +persist +pexpire +pttl" \
    "+exists +smismember +lpush +ltrim" "($(keys %RW 'position:*') +zrange)" \
    "($(keys %W 'rowcache.*') $send)"

# dispatcher: claims rows, sends messages, drops values. Reads neither values nor messages.
user dispatcher "${VALKEY_DISPATCHER_PASSWORD:?}" "$state $(keys %RW 'beat:*') $(keys %W $values)" \
    "$scripts $rows +zscan +blpop +get +info" "($(keys %W 'celery*' 'rowcache.*') $asked)"

# worker: takes messages, writes values and the schedule. Also for `rowcache grow`.
user worker "${VALKEY_WORKER_PASSWORD:?}" "$state $(keys %RW $values)" \
    "$scripts $rows +get +mget +set +mset +getrange +pttl +pexpire +zscan +info +wait" \
    "($(keys %RW 'celery*' 'rowcache.*') &${channel}celeryev/worker.* $asked)"

# operator: Flower, `rowcache status`, `doctor`, `metrics` and the commands that change the schedule.
user operator "${VALKEY_OPERATOR_PASSWORD:?}" "$state $(keys %RW $values)" \
    "$scripts $rows +get +pttl +hscan +zscan +zrank +zrevrank +lrange +scard +sadd +expire +type +info +wait +client|list" \
    "($(keys %RW 'celery*') $(keys %W 'rowcache.*') $asked)" "($(keys %R 'rowcache.*') +lindex)"
