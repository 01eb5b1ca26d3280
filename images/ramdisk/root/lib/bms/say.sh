# What a person sees, and what becomes of a failure.

# Beside the kernel's console whatever else is there: the command line of a site may name neither the serial port nor the screen.
CONSOLES='/dev/console /dev/tty0 /dev/ttyS0 /dev/ttyS1 /dev/hvc0 /dev/ttyAMA0'

# say SENTENCE: to every console that there is, each once.
say() {
  said=
  for console in $CONSOLES; do
    [ -c "$console" ] || continue
    # /dev/console is one of the others under another name
    case $console in /dev/console) [ -n "$said" ] && continue ;; esac
    case " $(cat /sys/class/tty/console/active 2> /dev/null) " in
      *" ${console#/dev/} "*) continue ;;
    esac
    echo "bms: $1" > "$console"
  done 2> /dev/null
  echo "bms: $1"
}

# fail SENTENCE: nothing can go on. The deploy-helper is told, so that the deployment ends with this sentence and not by its deadline. The
# machine stays up with the sentence on its screen, until its power is cut; with troubleshoot=1 there is a shell on the console.
fail() {
  say "FAILED: $1"
  if [ "$HELPER_REACHED" != refused ]; then report_error "$1"; fi
  if [ "$TROUBLESHOOT" = 1 ]; then
    say 'troubleshoot=1: here is a shell; "reboot -f" starts again'
    setsid cttyhack sh
  fi
  say 'the machine stays like this until its power is cut'
  while :; do
    sleep 60
    say "FAILED: $1"
  done
}
