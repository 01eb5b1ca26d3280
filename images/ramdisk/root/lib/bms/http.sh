# HTTP as far as it is needed here, over nc: with the body of a refusal, which is the sentence that a person wants to read, and with ranges,
# neither of which busybox's wget has. Version 1.0 of it: the end of the body is the end of the connection, and a body never comes in
# pieces (RFC 9112 section 6.1). nc only makes the connection, and gives it to a program of ours as standard input and output: by itself it would
# copy 1 KiB at a time, which takes longer than all else that is done to an image.

export LIB=${LIB:-/lib/bms}

# For each line of an answer's head: a server that has taken a request and is gone, or stopped, says nothing more.
HEAD_SECONDS=${HEAD_SECONDS:-60}

# http METHOD PATH [CONTENT-TYPE BODY-FILE]: sets STATUS (empty: nobody answered, or not to the end); the answer's body goes to
# $WORK/answer, $WORK being $RUN where there is only one thing to do at a time.
http() {
  folder=${WORK:-$RUN}
  request "$@" > "$folder/request"
  rm -f "$folder/answer" "$folder/status"
  timeout 60 nc -w 10 "$HELPER" "$HELPER_PORT" -e sh "$LIB/converse" "$folder" 2> "$folder/nc-error"
  STATUS=$(cat "$folder/status" 2> /dev/null)
}

# request METHOD PATH [CONTENT-TYPE BODY-FILE], with what RANGE and TOKEN hold
request() {
  printf '%s %s HTTP/1.0\r\nHost: %s:%s\r\n' "$1" "$2" "$HELPER" "$HELPER_PORT"
  [ -z "$TOKEN" ] || printf 'Authorization: Bearer %s\r\n' "$TOKEN"
  [ -z "$RANGE" ] || printf 'Range: bytes=%s\r\n' "$RANGE"
  if [ -n "$4" ]; then
    printf 'Content-Type: %s\r\nContent-Length: %s\r\n\r\n' "$3" "$(wc -c < "$4")"
    cat "$4"
  else
    printf '\r\n'
  fi
}

# Takes the head of an answer from standard input; what follows is the body, of which nothing is lost: the shell reads byte by byte.
# Sets status, range_start (of an answer to a range) and length.
read_head() {
  status= range_start= length=
  cr=$(printf '\r')
  IFS=' ' read -r -t "$HEAD_SECONDS" _ status _ || return 1
  while IFS= read -r -t "$HEAD_SECONDS" line; do
    line=${line%"$cr"}
    [ -n "$line" ] || return 0
    case $(printf %s "$line" | tr A-Z a-z) in
      content-range:*) range_start=$(printf %s "$line" | sed 's/^[^:]*: *bytes \([0-9]*\)-.*/\1/') ;;
      content-length:*) length=$(printf %s "${line#*:}" | tr -d ' ') ;;
    esac
  done
  return 1
}

# form_value TEXT: as a value of a form, whatever it holds
form_value() {
  printf %s "$1" | od -An -v -tx1 | tr -d '\n' | sed -e 's/ /%/g'
}

# json_string TEXT: quoted; what JSON has no place for is left out
json_string() {
  printf '"%s"' "$(printf %s "$1" | tr -d '\000-\037\177-\377' | sed -e 's/\\/\\\\/g' -e 's/"/\\"/g')"
}

# keyed WORD: what only those who know the deployment key can compute
keyed() {
  printf '%s %s' "$1" "$DEPLOYMENT_KEY" | sha256sum | cut -d ' ' -f 1
}
