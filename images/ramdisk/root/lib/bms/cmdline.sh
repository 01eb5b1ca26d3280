# The kernel's command line: what the machine is to do, and as whom.

# cmdline_value NAME: the value of the last NAME=… there; nothing when there is none.
cmdline_value() {
  (
    set -f # no word is a pattern
    value=
    for word in $(cat "$PROC/cmdline"); do
      case $word in "$1"=*) value=${word#*=} ;; esac
    done
    printf %s "$value"
  )
}

# decoded TEXT: %20 and the like become the characters that a command line cannot carry. A backslash is no escape.
decoded() {
  rest=$1
  while case $rest in *%*) true ;; *) false ;; esac; do
    printf %s "${rest%%%*}"
    rest=${rest#*%}
    code=$(printf %s "$rest" | cut -c 1-2)
    case $code in
      [0-9A-Fa-f][0-9A-Fa-f])
        printf "\\$(printf %o "0x$code")"
        rest=${rest#??}
        ;;
      *) printf %% ;;
    esac
  done
  printf %s "$rest"
}

read_cmdline() {
  IQN=$(cmdline_value iscsi_target_iqn)
  DEPLOYMENT_ID=$(cmdline_value deployment_id)
  DEPLOYMENT_KEY=$(cmdline_value deployment_key)
  DISKS=$(cmdline_value disk)
  TROUBLESHOOT=$(cmdline_value troubleshoot)
  ACTION=$(cmdline_value bms_action)
  METHOD=$(cmdline_value deploy_method)
  # The only initiator that may log in; without it anyone who knows the CHAP secret.
  INITIATOR=$(cmdline_value iscsi_initiator)
  BOOTIF=$(cmdline_value BOOTIF)
  RESTART=$(cmdline_value bms_restart)
  IP=$(cmdline_value ip)
  HELPER=$(cmdline_value deploy_helper)
  HINT_SERIAL=$(decoded "$(cmdline_value disk_serial)")
  HINT_WWN=$(decoded "$(cmdline_value disk_wwn)")
  HINT_PATH=$(decoded "$(cmdline_value disk_path)")
  HINT_SIZE_GB=$(cmdline_value disk_size_gb)
  HINT_ROTATIONAL=$(cmdline_value disk_rotational)
}

# needed NAME VALUE: a ramdisk that nobody meant to start changes nothing.
needed() {
  [ -n "$2" ] || fail "$1 is not on the kernel command line"
}
