# Which disk is written. The wrong one is never touched: hints that fit two disks, or none, fit none.

DISK_TRIES=10

# disk_serial NAME, disk_wwn NAME: as the disk reports them, without blanks around; nothing where it has none
disk_serial() {
  folder=$SYS/block/$(in_sysfs "$1")
  for file in "$folder/serial" "$folder/device/serial"; do
    if [ -s "$file" ]; then
      trimmed < "$file"
      return
    fi
  done
  # SCSI and SATA: vital product data, page 80h: four bytes of header, then the text
  # (a binary attribute of sysfs, whose size reads 0)
  [ ! -r "$folder/device/vpd_pg80" ] || tail -c +5 "$folder/device/vpd_pg80" | trimmed
}

disk_wwn() {
  folder=$SYS/block/$(in_sysfs "$1")
  for file in "$folder/wwid" "$folder/device/wwid"; do
    if [ -s "$file" ]; then
      trimmed < "$file"
      return
    fi
  done
}

disk_bytes() {
  echo $(($(cat "$SYS/block/$(in_sysfs "$1")/size" 2> /dev/null || echo 0) * 512))
}

# In which the disk counts: 512 bytes, or 4,096. Its size above is in 512 in any case.
disk_block_bytes() {
  cat "$SYS/block/$(in_sysfs "$1")/queue/logical_block_size" 2> /dev/null || echo 512
}

disk_model() {
  text_of "$SYS/block/$(in_sysfs "$1")/device/model"
}

disk_rotational() {
  cat "$SYS/block/$(in_sysfs "$1")/queue/rotational" 2> /dev/null
}

# Also of two that udev would call by-path: the bus address, without the links in between. An NVMe disk that could have several controllers is a
# virtual device; the bus is in those of its paths (nvme0c0n1), a line for each.
disk_path() {
  readlink -f "$SYS/block/$(in_sysfs "$1")" 2> /dev/null
  case $1 in
    nvme*n*)
      for path in "$SYS/block/${1%n*}"c*"n${1##*n}"; do
        [ ! -e "$path" ] || readlink -f "$path"
      done
      ;;
  esac
}

# cciss/c0d0 is cciss!c0d0 below /sys
in_sysfs() {
  printf %s "$1" | tr / '!'
}

text_of() {
  [ ! -r "$1" ] || trimmed < "$1"
}

trimmed() {
  tr -d '\000\n' | sed -e 's/^ *//' -e 's/ *$//'
}

# list_disks: names below /dev of what can be a root disk, in a fixed order
list_disks() {
  for folder in "$SYS"/block/*; do
    name=${folder##*/}
    case $name in loop* | ram* | zram* | sr* | fd* | dm-* | md* | nbd* | mtd* | 'zd'* | mmcblk*boot* | mmcblk*rpmb) continue ;; esac
    [ "$(cat "$folder/removable" 2> /dev/null)" != 1 ] || continue
    # nvme0c0n1: one path to nvme0n1, which cannot be opened
    [ "$(cat "$folder/hidden" 2> /dev/null)" != 1 ] || continue
    [ "$(cat "$folder/size" 2> /dev/null || echo 0)" -gt 0 ] || continue
    printf '%s\n' "$name" | tr '!' /
  done
}

has_hints() {
  [ -n "$HINT_SERIAL$HINT_WWN$HINT_PATH$HINT_SIZE_GB$HINT_ROTATIONAL" ]
}

# fits NAME: every hint that is given holds
fits() {
  [ -z "$HINT_SERIAL" ] || [ "$(disk_serial "$1")" = "$HINT_SERIAL" ] || return 1
  [ -z "$HINT_WWN" ] || same_wwn "$(disk_wwn "$1")" "$HINT_WWN" || return 1
  [ -z "$HINT_ROTATIONAL" ] || [ "$(disk_rotational "$1")" = "$HINT_ROTATIONAL" ] || return 1
  [ -z "$HINT_SIZE_GB" ] || [ "$(($(disk_bytes "$1") / 1000000000))" = "$HINT_SIZE_GB" ] || return 1
  if [ -n "$HINT_PATH" ]; then
    case $HINT_PATH in
      /dev/disk/*) return 1 ;; # there is no udev here to make such names
      /dev/*) [ "/dev/$1" = "$HINT_PATH" ] || return 1 ;;
      *) case $(disk_path "$1") in *"/$HINT_PATH/"*) ;; *) return 1 ;; esac ;;
    esac
  fi
}

# naa.5000c500…, wwn-0x5000c500…, 0x5000c500…, eui.0025… are spellings of one number
same_wwn() {
  bare='s/^wwn-//; s/^[a-z0-9]*\.//; s/^0x//'
  [ "$(printf %s "$1" | tr A-Z a-z | sed "$bare")" = "$(printf %s "$2" | tr A-Z a-z | sed "$bare")" ]
}

# choose_disk: prints the name of the disk to use. Otherwise fails, with the reason on standard output.
choose_disk() {
  if has_hints; then
    chosen=
    for name in $(list_disks); do
      fits "$name" || continue
      if [ -n "$chosen" ]; then
        echo "two disks fit the hints for the root disk, $chosen and $name; give one more hint"
        return 1
      fi
      chosen=$name
    done
    if [ -z "$chosen" ]; then
      echo "no disk fits the hints for the root disk; there is: $(describe_disks)"
      return 1
    fi
    echo "$chosen"
    return
  fi
  present=" $(list_disks | tr '\n' ' ')"
  for name in $(printf %s "${DISKS:-cciss/c0d0,sda,hda,vda}" | tr , ' '); do
    case $present in *" $name "*)
      echo "$name"
      return
      ;;
    esac
  done
  # None of the names that the original knew. One disk under another name (nvme0n1, xvda) leaves no doubt.
  set -- $present
  if [ $# -eq 1 ]; then
    echo "$1"
    return
  fi
  if [ $# -eq 0 ]; then echo 'Could not find disk to use.'; else echo "Could not find disk to use: which of $(describe_disks)?"; fi
  return 1
}

describe_disks() {
  text=
  for name in $(list_disks); do
    serial=$(disk_serial "$name")
    text="${text:+$text, }$name ($(($(disk_bytes "$name") / 1000000000)) GB, ${serial:-without a serial number})"
  done
  printf %s "${text:-no disk}"
}

# find_disk: sets DISK to a path; disks behind slow controllers get ten seconds to appear
find_disk() {
  tries=0
  until chosen_disk=$(choose_disk); do
    tries=$((tries + 1))
    [ "$tries" -lt "$DISK_TRIES" ] || fail "$chosen_disk"
    sleep 1
    load_drivers
  done
  DISK=/dev/$chosen_disk
  DISK_SERIAL=$(disk_serial "$chosen_disk")
  DISK_BYTES=$(disk_bytes "$chosen_disk")
  DISK_BLOCK_BYTES=$(disk_block_bytes "$chosen_disk")
  say "the disk is $DISK, $DISK_BYTES bytes, serial number ${DISK_SERIAL:-none}"
}
