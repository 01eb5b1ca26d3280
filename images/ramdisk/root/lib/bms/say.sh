# What a person sees, and what becomes of a failure.

# Standard output is the kernel's console. Whoever looks at another screen or serial line, which the site's command line does not name, shall see
# the sentence too.
OTHER_CONSOLES='tty0 ttyS0 ttyS1 hvc0 ttyAMA0'

# say SENTENCE
say() {
  echo "bms: $1"
  for console in $OTHER_CONSOLES; do
    case " $(cat "$SYS/class/tty/console/active" 2> /dev/null) " in *" $console "*) continue ;; esac
    [ ! -c "/dev/$console" ] || echo "bms: $1" > "/dev/$console"
  done 2> /dev/null
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
