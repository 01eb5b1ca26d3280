# The `direct` method: the ramdisk pulls its image from any replica, in ranges, and writes no chunk that is not what the manifest says. What to do
# to the disk comes as a plan (src/runtime/deploy/direct/plan.ts). A broken connection costs the chunk that was under way.

# Chunks per request: some connections are made anew now and then, so that replicas share the load.
RUN_CHUNKS=256
# So much is received, compared and written at a time: while one batch is compared and written, the next one comes in.
BATCH_BYTES=${BATCH_BYTES:-8388608}
BATCH_CHUNKS=64
# For one batch: a server that is gone without a word is not waited for for ever.
BATCH_SECONDS=${BATCH_SECONDS:-60}
# Failures in a row, without one chunk in between, before it is given up: with the pauses some two minutes.
PULL_TRIES=30
# Refusals before the plan is given up: with the pauses a minute, well before the owner takes a ramdisk of which it hears nothing for dead.
PLAN_TRIES=20

direct() {
  REPLICAS=$HELPER
  post "$(direct_form)"
  TOKEN=$(keyed direct)
  until_planned
  say "pulling the image for $DISK"
  until_manifest
  [ "$(sha256_of $RUN/manifest)" = "$MANIFEST_SHA256" ] || fail 'the manifest is not the one of the plan'
  read_manifest
  report_progress &
  reporter=$!
  DONE_CHUNKS=0
  while read -r step offset argument; do
    case $step in
      zero) write_zeros "$offset" "$argument" ;;
      bytes) base64 -d "$argument" | write_at "$offset" || fail "$DISK cannot be written at byte $offset" ;;
      image) write_image "$offset" ;;
      '') ;;
      *) fail "this ramdisk does not know the step \"$step\" of the plan" ;;
    esac
  done < $RUN/steps
  sync
  blockdev --flushbufs "$DISK"
  kill "$reporter" 2> /dev/null
  say 'the image is written'
  printf 'sha256=%s' "$IMAGE_SHA256" > $RUN/form
  until_answered POST "/v1/direct/$DEPLOYMENT_ID/done" application/x-www-form-urlencoded $RUN/form
}

direct_form() {
  printf 'i=%s&k=%s&a=%s&n=%s&b=%s&s=%s&z=%s&h=%s' "$(form_value "$DEPLOYMENT_ID")" "$(form_value "$DEPLOYMENT_KEY")" \
    "$(form_value "$ADDRESS")" "$(form_value "$IQN")" "$DISK_BYTES" "$(form_value "$DISK_SERIAL")" "$DISK_BLOCK_BYTES" \
    "$(holds_data)"
}

# 1 where tables and superblocks are something else than zeros: whoever knows which disk was meant then knows whether this one is somebody's
holds_data() {
  head -c 1048576 "$DISK" | tr -d '\000' | head -c 1 | wc -c | tr -d ' '
}

# until_manifest: from any replica that has it
until_manifest() {
  tries=0
  while :; do
    http GET "/v1/direct/$DEPLOYMENT_ID/manifest"
    case $STATUS in
      200) break ;;
      '' | 5*) ;;
      *) fail "the manifest does not come; $HELPER answered $STATUS: $(head -c 300 $RUN/answer)" ;;
    esac
    tries=$((tries + 1))
    why="the deploy-helper $HELPER:$HELPER_PORT $(not_now)"
    [ "$tries" -lt "$PULL_TRIES" ] || fail "the manifest does not come; $why; tried $tries times"
    say "$why; trying again"
    next_replica
    sleep $((tries < 5 ? tries : 5))
  done
  mv $RUN/answer $RUN/manifest
}

# The deploy-helper compares the disk with the machine's record first.
until_planned() {
  tries=0
  refusals=0
  while :; do
    http GET "/v1/direct/$DEPLOYMENT_ID/plan"
    why="the deploy-helper $HELPER:$HELPER_PORT $(not_now)"
    case $STATUS in
      200) break ;;
      202) refusals=0 ;;
      '') say "$why; trying again" ;;
      5*)
        refusals=$((refusals + 1))
        [ "$refusals" -lt "$PLAN_TRIES" ] || fail "the plan does not come; $why: $(head -c 300 $RUN/answer)"
        say "$why; trying again"
        ;;
      *) fail "the deploy-helper answered $STATUS: $(head -c 300 $RUN/answer)" ;;
    esac
    tries=$((tries + 1))
    if [ "$refusals" -eq 0 ] && [ "$tries" -lt 20 ]; then sleep 0.3; else sleep 3; fi
  done
  [ "$(head -n 1 $RUN/answer)" = bms-direct-plan/1 ] || fail 'this ramdisk does not know that kind of plan'
  MANIFEST_SHA256=$(sed -n 's/^manifest //p' $RUN/answer)
  VERIFY_EVERY=$(sed -n 's/^verify //p' $RUN/answer)
  for replica in $(sed -n 's/^replica //p' $RUN/answer); do
    case " $REPLICAS " in *" $replica "*) ;; *) REPLICAS="$REPLICAS $replica" ;; esac
  done
  # Bytes go into files: the shell would read a long line byte by byte.
  awk -v folder="$RUN" '
    NR <= 3 || $1 == "replica" { next }
    $1 == "bytes" { file = folder "/bytes-" NR; print $3 > file; close(file); print $1, $2, file; next }
    { print }' $RUN/answer > $RUN/steps
}

# Of $RUN/manifest: sizes, and $RUN/digests with a digest or `null` per line
read_manifest() {
  IMAGE_BYTES=$(sed -n 's/^"sizeBytes": \([0-9]*\),$/\1/p' $RUN/manifest)
  CHUNK_BYTES=$(sed -n 's/^"chunkBytes": \([0-9]*\),$/\1/p' $RUN/manifest)
  IMAGE_SHA256=$(sed -n 's/^"sha256": "\([0-9a-f]*\)",$/\1/p' $RUN/manifest)
  sed -n '7,$p' $RUN/manifest | sed -n 's/^"\{0,1\}\([0-9a-f]\{64\}\|null\)"\{0,1\},\{0,1\}$/\1/p' > $RUN/digests
  CHUNKS=$(wc -l < $RUN/digests)
  [ -n "$IMAGE_BYTES" ] && [ -n "$CHUNK_BYTES" ] && [ "$CHUNKS" -eq $(((IMAGE_BYTES + CHUNK_BYTES - 1) / CHUNK_BYTES)) ] \
    || fail 'the manifest is not complete'
}

# runs: $RUN/digests behind the first chunk, as lines `data FIRST COUNT` and `zero FIRST COUNT`
runs() {
  awk -v most="$RUN_CHUNKS" '
    function flush() { if (count) print kind, first, count }
    NR > 1 {
      now = $0 == "null" ? "zero" : "data"
      if (now != kind || (now == "data" && count >= most)) { flush(); kind = now; first = NR - 1; count = 0 }
      count++
    }
    END { flush() }' $RUN/digests
}

# The first chunk, with the partition table, is erased first and written last, when all others have been read back: a disk that was cut short boots nothing.
write_image() {
  base=$1
  set_length 0
  write_zeros "$base" "$length"
  sync
  runs > $RUN/runs
  while read -r kind first count; do
    case $kind in
      zero)
        length=$((count * CHUNK_BYTES))
        [ $(((first + count) * CHUNK_BYTES)) -le "$IMAGE_BYTES" ] || length=$((IMAGE_BYTES - first * CHUNK_BYTES))
        write_zeros $((base + first * CHUNK_BYTES)) "$length"
        arrived $((first + count))
        ;;
      data) pull_run "$first" $((first + count)) ;;
    esac
  done < $RUN/runs
  sync
  # Now, since a table that comes later may lie in the first chunk.
  read_back 2
  [ "$(head -n 1 $RUN/digests)" = null ] || pull_run 0 1
  read_back 1 1
}

# pull_run FIRST END: again from the chunk that is missing, from the next replica, as often as something comes
pull_run() {
  at=$1
  failures=0
  arrived "$at"
  while :; do
    pull "$at" "$2"
    reached=$(cat $RUN/at)
    [ "$reached" -lt "$2" ] || return 0
    if [ "$reached" -gt "$at" ]; then failures=0; else failures=$((failures + 1)); fi
    at=$reached
    why=$(cat $RUN/why 2> /dev/null)
    case $why in fatal:*) fail "${why#fatal:}" ;; esac
    say "chunk $at: ${why:-the connection to $HELPER was lost}; trying again from there"
    [ "$failures" -lt "$PULL_TRIES" ] || fail "chunk $at: ${why:-the connection to $HELPER was lost}; tried $failures times"
    next_replica
    [ "$failures" -eq 0 ] || sleep $((failures < 5 ? failures : 5))
  done
}

# arrived CHUNKS: so many are on the disk. Whoever reads it meanwhile reads the old number or the new one.
arrived() {
  echo "$1" > $RUN/at.new
  mv $RUN/at.new $RUN/at
}

next_replica() {
  first=
  found=
  for replica in $REPLICAS; do
    [ -n "$first" ] || first=$replica
    if [ -n "$found" ]; then
      HELPER=$replica
      return
    fi
    [ "$replica" != "$HELPER" ] || found=1
  done
  HELPER=$first
}

# pull FROM END: one request; $RUN/at counts the chunks that are on the disk, $RUN/why says what came in between
pull() {
  rm -rf $RUN/pull $RUN/why
  mkdir -p $RUN/pull
  RANGE=$(($1 * CHUNK_BYTES))-$(($2 * CHUNK_BYTES - 1))
  [ $(($2 * CHUNK_BYTES)) -le "$IMAGE_BYTES" ] || RANGE=$(($1 * CHUNK_BYTES))-$((IMAGE_BYTES - 1))
  request GET "/v1/direct/$DEPLOYMENT_ID/image" > $RUN/pull/request
  RANGE=
  sed -n "$(($1 + 1)),$2p" $RUN/digests > $RUN/wanted
  export RUN HELPER DISK IMAGE_BYTES CHUNK_BYTES base
  nc -w 10 "$HELPER" "$HELPER_PORT" -e sh "$LIB/take" "$1" "$2" 2> $RUN/nc-error
}

# take_chunks FROM END, from standard input
take_chunks() {
  read_head || return
  case $status in
    206) ;;
    503) echo "$HELPER is busy" > $RUN/why; return ;;
    *) echo "fatal:$HELPER answered $status: $(head -c 300)" > $RUN/why; return ;;
  esac
  next=$1
  if [ "$range_start" != $((next * CHUNK_BYTES)) ]; then
    echo "$HELPER gives another range than was asked for" > $RUN/why
    return
  fi
  per_batch=$((BATCH_BYTES / CHUNK_BYTES))
  [ "$per_batch" -ge 1 ] || per_batch=1
  [ "$per_batch" -le "$BATCH_CHUNKS" ] || per_batch=$BATCH_CHUNKS
  side=0
  settling=
  exec 4< $RUN/wanted
  while [ "$next" -lt "$2" ]; do
    batch=$RUN/pull/$side
    first=$next
    lengths=
    rm -rf $batch
    mkdir $batch
    while [ "$next" -lt "$2" ] && [ "$next" -lt $((first + per_batch)) ] && read -r digest <&4; do
      set_length "$next"
      lengths="$lengths $length"
      echo "$digest" >> $batch/wanted
      next=$((next + 1))
    done
    silent=
    timeout "$BATCH_SECONDS" sh "$LIB/receive" $batch $lengths || silent=1
    [ -z "$settling" ] || wait "$settling" || return
    settle "$first" "$next" $batch &
    settling=$!
    [ -z "$silent" ] || break
    side=$((1 - side))
  done
  wait "$settling"
}

# settle FIRST END FOLDER: writes what was received, up to the first chunk that is not what it should be
settle() {
  at=$1
  sha256sum $3/1?? > $3/sums
  exec 5< $3/sums 6< $3/wanted
  while read -r wanted <&6; do
    file=
    sum=
    read -r sum file <&5
    set_length "$at"
    if [ "$sum" != "$wanted" ]; then
      # Not written: what is on the disk there stays what it was.
      [ "$(stat -c %s "$file")" != "$length" ] || echo 'it is not what the manifest says' > $RUN/why
      break
    fi
    if ! dd if="$file" of="$DISK" bs=65536 seek=$((base + at * CHUNK_BYTES)) oflag=seek_bytes conv=notrunc; then
      echo "fatal:$DISK cannot be written at byte $((base + at * CHUNK_BYTES))" > $RUN/why
      break
    fi
    at=$((at + 1))
  done
  arrived "$at"
  [ "$at" -eq "$2" ]
}

# set_length CHUNK: sets length; the last chunk may be shorter
set_length() {
  length=$((IMAGE_BYTES - $1 * CHUNK_BYTES))
  [ "$length" -le "$CHUNK_BYTES" ] || length=$CHUNK_BYTES
}

# write_zeros OFFSET LENGTH
write_zeros() {
  mebi=1048576
  whole=$(($2 / mebi))
  [ "$whole" -eq 0 ] || dd if=/dev/zero of="$DISK" bs=$mebi count="$whole" seek="$1" oflag=seek_bytes conv=notrunc 2> /dev/null \
    || fail "$DISK cannot be written at byte $1"
  rest=$(($2 % mebi))
  [ "$rest" -eq 0 ] || head -c "$rest" /dev/zero | write_at $(($1 + whole * mebi)) || fail "$DISK cannot be written at byte $1"
}

# write_at OFFSET, from standard input
write_at() {
  dd of="$DISK" bs=65536 iflag=fullblock seek="$1" oflag=seek_bytes conv=notrunc 2> /dev/null
}

# read_back FROM [TO]: of these lines of $RUN/digests every Nth chunk once more, from the disk and not from memory
read_back() {
  [ "$VERIFY_EVERY" -ne 0 ] || return 0
  sync
  blockdev --flushbufs "$DISK"
  echo 3 > /proc/sys/vm/drop_caches 2> /dev/null
  awk -v every="$VERIFY_EVERY" -v from="$1" -v to="${2:-$CHUNKS}" '
    NR >= from && NR <= to && $0 != "null" && (NR - 1) % every == 0 { print NR - 1, $0 }' $RUN/digests > $RUN/sample
  while read -r number wanted; do
    set_length "$number"
    dd if="$DISK" bs="$length" count=1 skip=$((base + number * CHUNK_BYTES)) iflag=skip_bytes,fullblock of=$RUN/chunk 2> /dev/null
    [ "$(sha256_of $RUN/chunk)" = "$wanted" ] || fail "$DISK did not keep chunk $number as it was written"
  done < $RUN/sample
}

sha256_of() {
  set -- $(sha256sum "$1")
  echo "$1"
}

# Every few seconds, beside the work, with files of its own
report_progress() {
  WORK=$RUN/reporter
  mkdir -p "$WORK"
  most=0
  while sleep 3; do
    now=$(cat $RUN/at 2> /dev/null || echo 0)
    [ "$now" -le "$most" ] || most=$now # the first chunk comes last
    printf 'bytes=%s' $((most * CHUNK_BYTES)) > "$WORK/form"
    http POST "/v1/direct/$DEPLOYMENT_ID/progress" application/x-www-form-urlencoded "$WORK/form"
    [ -n "$STATUS" ] || next_replica
  done
}

direct_error() {
  # There is no more progress to report, and none may be the last word.
  [ -z "$reporter" ] || kill "$reporter" 2> /dev/null
  printf 'e=%s' "$(form_value "$1")" > $RUN/form
  for try in 1 2 3; do
    http POST "/v1/direct/$DEPLOYMENT_ID/error" application/x-www-form-urlencoded $RUN/form
    [ -z "$STATUS" ] || return 0
    next_replica
    sleep 2
  done
}
