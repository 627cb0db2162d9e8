# video: ffmpeg decodes a clip again and again. Work: frames. The hash of each must be the one that the decoder made where
# the image was built.
PATH=/usr/bin:/usr/sbin:/run/vmferry
export PATH LD_LIBRARY_PATH=/usr/lib/x86_64-linux-gnu/blas:/usr/lib/x86_64-linux-gnu/lapack:/usr/lib/x86_64-linux-gnu/pulseaudio
share=/usr/local/share/vmferry
while true; do
  ffmpeg -nostdin -v error -flush_packets 1 -i "$share/clip.mp4" -f framemd5 - < /dev/null
  echo "# end $?"
done | awk -v wanted="$share/clip.framemd5" '
  BEGIN { frame = 0; while ((getline line < wanted) > 0) if (line !~ /^#/) hashes[frames++] = line }
  /^# end/ {
    if ($3 != 0 || frame != frames) print "!pass ended with " $3 " after " frame " of " frames " frames"
    frame = 0
  }
  /^#/ { next }
  { print $0 == hashes[frame] ? "+1" : "!frame " frame " is not what it was"; frame++; fflush() }
' | exec tally video
