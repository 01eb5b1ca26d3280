# The interface that the machine booted from, with the address that its boot loader got.

# boot_mac: aa:bb:cc:dd:ee:ff from BOOTIF=01-aa-bb-cc-dd-ee-ff, as pxelinux, GRUB and iPXE give it.
boot_mac() {
  printf %s "$BOOTIF" | sed -n 's/^01-\([0-9A-Fa-f]\{2\}\(-[0-9A-Fa-f]\{2\}\)\{5\}\)$/\1/p' | tr 'A-F-' 'a-f:'
}

# interface_of MAC: its name; nothing when no interface has it.
interface_of() {
  for folder in "$SYS"/class/net/*; do
    # a VLAN or a bond on top has the same address; only what has a device of its own is a card
    [ -e "$folder/device" ] || continue
    if [ "$(cat "$folder/address" 2> /dev/null)" = "$1" ]; then
      printf %s "${folder##*/}"
      return
    fi
  done
}

# Sets INTERFACE, ADDRESS and HELPER.
configure_network() {
  mac=$(boot_mac)
  [ -n "$mac" ] || fail 'BOOTIF is not on the kernel command line: which interface did the machine boot from?'
  tries=0
  while INTERFACE=$(interface_of "$mac"); [ -z "$INTERFACE" ]; do
    tries=$((tries + 1))
    [ "$tries" -lt 10 ] || fail "no interface has the address $mac that the machine booted from: its driver is not in this ramdisk"
    sleep 1
    load_drivers
  done
  ip link set lo up
  ip link set "$INTERFACE" up
  wait_for_carrier

  # ip=client:server:gateway:netmask
  ADDRESS=$(field 1 "$IP")
  server=$(field 2 "$IP")
  gateway=$(field 3 "$IP")
  netmask=$(field 4 "$IP")
  [ -n "$HELPER" ] || HELPER=$server
  if [ -n "$ADDRESS" ] && [ -n "$netmask" ]; then
    ifconfig "$INTERFACE" "$ADDRESS" netmask "$netmask" || fail "$INTERFACE does not take the address $ADDRESS"
    [ -z "$gateway" ] || route add default gw "$gateway" 2> /dev/null
    # The lease is the boot loader's: somebody has to keep it while a long image is written.
    udhcpc -i "$INTERFACE" -r "$ADDRESS" -s /lib/bms/udhcpc -b -t 5 -T 2 -A 10 > /dev/null 2>&1 < /dev/null &
  else
    lease
  fi
  [ -n "$HELPER" ] || fail 'neither ip= nor DHCP names the boot server'
  say "$INTERFACE has $ADDRESS; the deploy-helper is at $HELPER"
}

wait_for_carrier() {
  waited=0
  while [ "$(cat "$SYS/class/net/$INTERFACE/carrier" 2> /dev/null)" != 1 ]; do
    # Spanning tree and slow transceivers take half a minute; after that somebody should look at the cable.
    [ $((waited % 30)) -ne 10 ] || say "$INTERFACE ($mac) has no carrier: is its cable plugged in, and its switch port up?"
    sleep 1
    waited=$((waited + 1))
  done
}

lease() {
  asked=0
  # Without -q: it stays, and renews what a long image or a rescue would outlive.
  until udhcpc -i "$INTERFACE" ${ADDRESS:+-r "$ADDRESS"} -s /lib/bms/udhcpc -n -t 5 -T 2 > /dev/null 2>&1 < /dev/null; do
    asked=$((asked + 1))
    say "nobody answers DHCP on $INTERFACE ($mac); tried $asked times"
    sleep 5
  done
  . "$RUN/lease"
  ADDRESS=$ip
  [ -n "$HELPER" ] || HELPER=${siaddr:-$serverid}
}

# field N TEXT: the Nth part between colons
field() {
  printf %s "$2" | cut -d : -f "$1"
}
