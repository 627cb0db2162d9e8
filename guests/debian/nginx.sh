# nginx: serves files of 1 KiB (/small-0 to /small-7) and 64 KiB (/large-0 to /large-7) on port 80. Work: requests, by its
# own count. What goes wrong is seen by who asks.
PATH=/usr/bin:/usr/sbin:/run/vmferry
export PATH
mkdir -p /var/log/nginx /var/lib/nginx
nginx -c /usr/local/share/vmferry/nginx.conf || exit 1
while sleep 1; do
  wget -q -O - http://127.0.0.1/status | awk 'NR == 3 { print "=" $3 }' || echo '!nginx does not answer'
done | exec tally nginx
