# The words with the deploy-helper, and the ways through the ramdisk.

HELPER_PORT=10000
# How long a deploy-helper that restarts may be away before the waits grow.
POST_TRIES=60

deploy() {
  needed iscsi_target_iqn "$IQN"
  needed deployment_id "$DEPLOYMENT_ID"
  needed deployment_key "$DEPLOYMENT_KEY"
  configure_network
  find_disk
  if [ "$METHOD" = direct ]; then
    wait_for_done &
    direct
  else
    start_target
    # Before the POST: the answer to it may be quicker than we are.
    wait_for_done &
    say "exporting $DISK as $IQN"
    post "$(deploy_form)"
    say 'posted; waiting for the image'
  fi
  until [ -e $RUN/done ]; do sleep 0.1; done
  [ "$METHOD" = direct ] || stop_target
  restart
}

inspect() {
  needed deployment_id "$DEPLOYMENT_ID"
  needed deployment_key "$DEPLOYMENT_KEY"
  raise_interfaces
  start_listening
  configure_network
  say 'listening to what the switches say'
  until_heard
  printf '{"node":%s,"key":%s,"facts":%s}' "$DEPLOYMENT_ID" "$(json_string "$DEPLOYMENT_KEY")" "$(facts)" > $RUN/report
  until_answered POST /v1/ramdisk application/json $RUN/report
  say 'inspected; waiting for the power to be cut'
  while :; do sleep 3600; done
}

rescue() {
  needed deployment_id "$DEPLOYMENT_ID"
  needed deployment_key "$DEPLOYMENT_KEY"
  configure_network
  printf '{"node":%s,"key":%s}' "$DEPLOYMENT_ID" "$(json_string "$DEPLOYMENT_KEY")" > $RUN/report
  until_answered POST /v1/ramdisk application/json $RUN/report
  say 'rescue: the disks are not mounted; this is a shell on the console'
  while :; do setsid cttyhack sh; done
}

deploy_form() {
  printf 'i=%s&k=%s&a=%s&n=%s&p=%s&l=%s' "$(form_value "$DEPLOYMENT_ID")" "$(form_value "$DEPLOYMENT_KEY")" \
    "$(form_value "$ADDRESS")" "$(form_value "$IQN")" "${ISCSI_PORT:-3260}" "${LUN:-1}"
}

# post FORM
post() {
  printf %s "$1" > $RUN/form
  until_answered POST / application/x-www-form-urlencoded $RUN/form
}

# until_answered METHOD PATH TYPE FILE: a refusal is final, but for 409 after a try whose answer was lost: that try was accepted, and the key
# has only one use.
until_answered() {
  tries=0
  while :; do
    tries=$((tries + 1))
    http "$@"
    case $STATUS in
      200) return ;;
      409) [ "$tries" -eq 1 ] || return 0 ;;
    esac
    case $STATUS in
      '' | 500 | 502 | 503 | 504) ;;
      *)
        HELPER_REACHED=refused
        fail "the deploy-helper answered $STATUS: $(head -c 300 $RUN/answer)"
        ;;
    esac
    say "the deploy-helper $HELPER:$HELPER_PORT $(not_now); trying again"
    # Any replica takes it, where others are known.
    [ -z "$REPLICAS" ] || next_replica
    if [ "$tries" -lt "$POST_TRIES" ]; then sleep 5; else sleep 30; fi
  done
}

# not_now: why there is no answer that could be used
not_now() {
  if [ -n "$STATUS" ]; then
    echo "answered $STATUS"
  elif [ -s "$RUN/nc-error" ]; then
    echo "cannot be reached ($(head -n 1 "$RUN/nc-error"))"
  else
    echo 'gave no answer'
  fi
}

# Tells the deploy-helper why nothing comes of it, in the form that the ramdisk was started for. Tried three times, no longer: the sentence is on
# the console in any case.
report_error() {
  [ -n "$HELPER" ] && [ -n "$DEPLOYMENT_KEY" ] || return 0
  case $ACTION in
    inspect | rescue)
      printf '{"node":%s,"key":%s,"error":%s}' "$DEPLOYMENT_ID" "$(json_string "$DEPLOYMENT_KEY")" "$(json_string "$1")" > $RUN/report
      set -- POST /v1/ramdisk application/json $RUN/report
      ;;
    *)
      if [ -n "$TOKEN" ]; then
        direct_error "$1"
        return
      fi
      printf '%s&e=%s' "$(deploy_form)" "$(form_value "$1")" > $RUN/form
      set -- POST / application/x-www-form-urlencoded $RUN/form
      ;;
  esac
  for try in 1 2 3; do
    http "$@"
    [ -z "$STATUS" ] || return 0
    sleep 2
  done
}

# Listens until the deploy-helper says that it is done, and proves by the deployment key that it is the deploy-helper. Whoever says anything else,
# or nothing, is not heard; several may try at once.
wait_for_done() {
  printf 'done %s\n' "$(keyed done)" > $RUN/expected
  nc -ll -p "$HELPER_PORT" -e /lib/bms/hear
}
