# compile [OPTION...]: zlib's sources compiled again and again by gcc. Work: objects. Each round's program is run, and the
# objects must be those of the first round, to the byte.
PATH=/usr/bin:/usr/sbin:/run/vmferry
export PATH
folder=/tmp/compile
cp -r /usr/local/src/zlib "$folder" && cd "$folder" || exit 1
[ $# -eq 0 ] && set -- -O2
round() {
  rm -f *.o example
  for source in *.c; do
    if gcc "$@" -c "$source"; then echo +1; else echo "!$source does not compile"; fi
  done
  gcc "$@" -I. -o example test/example.c *.o || echo '!no program'
  ./example example.gz > said 2>&1 || echo "!the program failed: $(tail -n 1 said)"
  grep -q 'large_inflate(): OK' said || echo '!the program did not inflate what it deflated'
  sum=$(cat *.o | sha256sum)
  first=${first:-$sum}
  [ "$sum" = "$first" ] || echo '!objects differ from those of the first round'
}
while true; do round "$@"; done | exec tally compile
