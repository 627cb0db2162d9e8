# redis: a Redis server on port 6379 that keeps a log of every write. Work: commands, by its own count (the one that asks
# for it included). What goes wrong is seen by who asks.
PATH=/usr/bin:/usr/sbin:/run/vmferry
export PATH
mkdir -p /var/lib/redis
redis-server --port 6379 --bind 0.0.0.0 --protected-mode no --dir /var/lib/redis --save '' --appendonly yes \
  --appendfsync everysec --daemonize yes --logfile /var/lib/redis/log > /dev/null || exit 1
while sleep 1; do
  redis-cli info stats | tr -d '\r' | sed -n 's/^total_commands_processed:/=/p' | grep . || echo '!redis does not answer'
done | exec tally redis
