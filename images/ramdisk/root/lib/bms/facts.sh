# What the machine has, as JSON in the words of the deploy-helper.

facts() {
  printf '{"cpus":%s,"memoryMb":%s,"cpuArch":%s,"firmware":%s' \
    "$(nproc)" "$(memory_mb)" "$(json_string "$(uname -m)")" "$(if [ -d "$SYS/firmware/efi" ]; then echo '"uefi"'; else echo '"bios"'; fi)"
  for pair in manufacturer:sys_vendor product:product_name serial:product_serial; do
    value=$(text_of "$SYS/class/dmi/id/${pair#*:}")
    [ -z "$value" ] || printf ',"%s":%s' "${pair%%:*}" "$(json_string "$value")"
  done
  printf ',"disks":['
  separator=
  for name in $(list_disks); do
    printf '%s{"name":%s,"sizeBytes":%s' "$separator" "$(json_string "$name")" "$(disk_bytes "$name")"
    for what in serial wwn model; do
      value=$("disk_$what" "$name")
      [ -z "$value" ] || printf ',"%s":%s' "$what" "$(json_string "$value")"
    done
    case $(disk_rotational "$name") in 0) printf ',"rotational":false' ;; 1) printf ',"rotational":true' ;; esac
    printf '}'
    separator=,
  done
  printf '],"interfaces":['
  separator=
  for folder in "$SYS"/class/net/*; do
    [ -e "$folder/device" ] || continue
    printf '%s{"name":%s,"mac":%s' "$separator" "$(json_string "${folder##*/}")" "$(json_string "$(cat "$folder/address")")"
    # an interface that is down does not say whether it has a carrier
    case $(cat "$folder/carrier" 2> /dev/null) in 0) printf ',"linkUp":false' ;; 1) printf ',"linkUp":true' ;; esac
    [ ! -s "$RUN/lldp/${folder##*/}" ] || printf ',"lldpFrame":"%s"' "$(cat "$RUN/lldp/${folder##*/}")"
    printf '}'
    separator=,
  done
  printf ']}'
}

# What firmware keeps for itself is not in MemTotal; the controller allows for that.
memory_mb() {
  echo $(($(sed -n 's/^MemTotal: *\([0-9]*\) kB/\1/p' "$PROC/meminfo") / 1024))
}

# Every card up, so that each can say whether it has a carrier, and what is at the other end
raise_interfaces() {
  for card in $(cards); do
    ip link set "$card" up
  done
}
