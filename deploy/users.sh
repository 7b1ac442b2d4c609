#!/bin/sh
# Prints the users of Redis (7.2 or later) or Valkey, as an ACL file: who may do what, and nothing else.
#
#   sh deploy/users.sh > users.acl; valkey-server --aclfile users.acl
#
# Passwords come from the environment and are printed as hashes. docs/security.md tells what each user is for.
set -euf

hash() { printf %s "$1" | { sha256sum 2>/dev/null || shasum -a 256; } | cut -c-64; }

# user NAME PASSWORD RULE...: nothing is allowed but the rules, and what every connection needs. Not MONITOR, KEYS,
# FLUSHALL, CONFIG, DEBUG, ACL, …: those are the administrator's.
user() {
    name=$1 secret=$(hash "$2")
    shift 2
    echo "user $name on #$secret resetkeys resetchannels -@all" \
        "+ping +select +time +multi +exec +discard +client|setname +client|setinfo $*"
}

# keys PERMISSION NAME...: key patterns with a permission: %R read, %W write, %RW both.
keys() {
    permission=$1
    shift
    for name in "$@"; do printf '%s~%s ' "$permission" "$name"; done
}

# The namespaces of rowcache_tables are prefixes of the values; the table without one is inv.
values=
for namespace in ${VALKEY_NAMESPACES:-inv}; do values="$values $namespace:*"; done
# Channels begin with the number of the broker's database.
channel="/${VALKEY_BROKER_DATABASE:-0}."

# The state of the schedule: all that our scripts touch beside the values.
state=$(keys %RW 'schedule:*' 'delay:*' 'refreshed:*' 'changed:*' 'failures:*' 'wake:*' 'stats:*' 'queue:*' 'fill:*')
scripts='+evalsha +eval'
rows='+zadd +zrem +zrange +zremrangebyscore +zscore +zmscore +zcard +zcount +hget +hmget +hset +hdel +hlen +hincrby +del +persist'

# To send: find the queues that are bound to an exchange, put a message into one, tell Flower.
bindings=$(keys %RW '_kombu.*')
send="$bindings &${channel}celeryev/* +sadd +smembers +lpush +llen +exists +publish"
# To be asked by `inspect` and Flower: a mailbox that all processes hear, and answers that only the asker reads.
asked="$(keys %RW '*.celery.pidbox*') &${channel}celery.pidbox +psubscribe +punsubscribe +subscribe +unsubscribe"
asked="$asked +srem +pexpire +evalsha +script|load +script|exists +zadd +zrem +zrangebyscore +brpop +del +hello"
# Whoever waits for messages also puts back into the queues those whose worker was killed.
asked="$asked ($(keys %RW 'unacked*') +set +get +del +evalsha +zadd +zrange +zrem +hset +hget +hdel +watch)"
asked="$asked +unwatch +rpush"

# administrator: for people, and for what nobody else may do.
echo "user default on #$(hash "${VALKEY_PASSWORD:?}") ~* &* +@all"

# reader: RowCache only. One that can be told to be anything may read values, and how old they are.
# What it has read, the server can tell when it changes: the near cache.
read='+get +mget +exists +zscore +zmscore +hello +client|tracking'
user reader "${VALKEY_READER_PASSWORD:?}" "$(keys %R $values 'refreshed:*') $read"

# application: sends tasks, stamped with the server's time, and reads values. It changes no schedule and no value.
user application "${VALKEY_APPLICATION_PASSWORD:?}" "$send $(keys %W 'rowcache.*')" \
    "$(keys %R $values 'refreshed:*') $read"

# filler: an application that also fills what it misses from the database (read-through), and has rows refreshed by
# itself, without a task. So it writes values and the schedule.
user filler "${VALKEY_FILLER_PASSWORD:?}" "$send $(keys %W 'rowcache.*') $state $(keys %RW $values)" \
    "$read $scripts +set +del +zadd +hget +hdel +hincrby +rpush +llen"

# dispatcher: claims rows, sends them, and drops values; it reads neither values nor messages.
user dispatcher "${VALKEY_DISPATCHER_PASSWORD:?}" "$state $(keys %RW 'beat:*') $(keys %W $values)" \
    "$scripts $rows +zscan +blpop +ltrim +info $send $asked $(keys %W 'celery*' 'rowcache.*')"

# worker: takes messages, and writes values and the schedule.
user worker "${VALKEY_WORKER_PASSWORD:?}" "$state $(keys %RW $values)" \
    "$scripts $rows +mget +mset +pexpire +zscan +info $send $asked $(keys %RW 'celery*' 'rowcache.*')" \
    "&${channel}celeryev/worker.* +rpop"

# operator: Flower, `rowcache status`, `doctor`, `metrics` and the commands that change the schedule.
user operator "${VALKEY_OPERATOR_PASSWORD:?}" "$state $(keys %RW $values 'celery*') $(keys %W 'rowcache.*')" \
    "$scripts $rows +get +hgetall +hscan +zscan +type +info +client|list $send $asked"
