# What the switches say of themselves (LLDP), heard without any program for it: a macvtap on top of a card is a device of the kernel's from which
# every read takes one frame. The frames are posted as they came; the deploy-helper reads them.

# Switches speak every 30 s if nobody told them otherwise.
LLDP_SECONDS=35
# A card without a carrier until then has no cable; who has one is heard for all of the time.
LLDP_CARRIER_SECONDS=5

# cards: names of the interfaces that have a device
cards() {
  for folder in "$SYS"/class/net/*; do
    [ ! -e "$folder/device" ] || printf '%s\n' "${folder##*/}"
  done
}

# start_listening: every card at once, beside whatever else there is to do
start_listening() {
  mkdir -p "$RUN/lldp"
  if ! modprobe macvtap; then
    LLDP_SECONDS=5
    return 0
  fi
  number=0
  for card in $(cards); do
    tap=bmstap$number
    number=$((number + 1))
    ip link add link "$card" name "$tap" type macvtap || continue
    # A switch port that takes one address only must not hear a second one: nothing is ever sent from here, router solicitations neither.
    ip6=$PROC/sys/net/ipv6/conf/$tap/disable_ipv6
    [ ! -e "$ip6" ] || echo 1 > "$ip6"
    # All multicast: LLDP's own three addresses cannot be asked for by name here.
    ifconfig "$tap" allmulti up || continue
    # By its number, not by its name below /dev: that is made of the interface's number, which is not unique where there are namespaces.
    mknod "$RUN/lldp/.$card.tap" c $(cat "$SYS/class/net/$tap"/tap*/dev | tr : ' ') || continue
    timeout "$LLDP_SECONDS" sh "${LIB:-/lib/bms}/hear-lldp" "$card" "$RUN/lldp/.$card.tap" < /dev/null > /dev/null 2>&1 &
  done
}

# until_heard: no longer than it takes, and than a switch may be silent
until_heard() {
  heard_for=0
  until [ "$heard_for" -ge "$LLDP_SECONDS" ] || all_heard; do
    sleep 1
    heard_for=$((heard_for + 1))
  done
  number=0
  for card in $(cards); do
    ip link del "bmstap$number" 2> /dev/null
    number=$((number + 1))
  done
}

all_heard() {
  for card in $(cards); do
    [ ! -e "$RUN/lldp/$card" ] || continue
    case $(cat "$SYS/class/net/$card/carrier" 2> /dev/null) in
      1) return 1 ;;
      *) [ "$heard_for" -ge "$LLDP_CARRIER_SECONDS" ] || return 1 ;;
    esac
  done
}
