# The last step: into the system that was written. Through the firmware, as every later start; or with bms_restart=kexec, and in a ramdisk that was built
# with --kexec, straight into the kernel that the disk's own boot menu names, which saves the minutes that servers test themselves. Whatever stands in the
# way of that is said, and the firmware has its turn.

restart() {
  say 'done; restarting'
  sync
  if [ "$RESTART" = kexec ]; then
    ROOT=$RUN/written
    mkdir -p "$ROOT"
    if prepare_kexec; then
      say "straight into $KERNEL"
      kexec -e
      why='the kernel does not hand over'
    fi
    say "no kexec: $why; through the firmware"
  fi
  reboot -f
}

# prepare_kexec: the written system's kernel is loaded; or `why` not
prepare_kexec() {
  if [ ! -x /bin/kexec ]; then
    why='this ramdisk was not built with --kexec'
    return 1
  fi
  blockdev --rereadpt "$DISK" 2> /dev/null
  why="$DISK has no boot menu that this ramdisk can read"
  KERNEL= EFI=
  for partition in $(partitions_of "$DISK"); do
    mount_read_only "$partition" || continue
    [ ! -d "$ROOT/EFI" ] && [ ! -d "$ROOT/efi" ] || EFI=1
    if [ -z "$KERNEL" ] && read_menu; then
      load_kernel || why="$KERNEL cannot be loaded: $(head -n 1 "$RUN/kexec.log")"
    fi
    umount "$ROOT"
  done
  [ -n "$LOADED" ] || return 1
  # A disk that no firmware starts is one whose kernel comes over the network: which, only the boot server knows.
  if ! starts_itself; then
    why='the machine does not start from its disk but over the network'
    return 1
  fi
}

partitions_of() {
  for folder in "$SYS/class/block/${1##*/}"/*; do
    [ ! -e "$folder/partition" ] || printf '/dev/%s\n' "${folder##*/}"
  done
}

mount_read_only() {
  for type in ext4 xfs vfat; do
    # without the journal: nothing is written, and nothing is to be replayed after a clean image
    case $type in ext4) options=ro,noload ;; xfs) options=ro,norecovery ;; *) options=ro ;; esac
    ! mount -t "$type" -o "$options" "$1" "$ROOT" 2> /dev/null || return 0
  done
  return 1
}

# read_menu: KERNEL, INITRD and WORDS of the first entry of a menu of GRUB's. Paths in it begin at the file system that the menu is on.
read_menu() {
  for menu in "$ROOT"/boot/grub/grub.cfg "$ROOT"/boot/grub2/grub.cfg "$ROOT"/grub/grub.cfg "$ROOT"/grub2/grub.cfg; do
    [ -r "$menu" ] || continue
    awk '
      $1 ~ /^linux(16|efi)?$/ && !kernel { kernel = $2; for (i = 3; i <= NF; i++) if ($i !~ /\$/) words = words (words ? " " : "") $i; next }
      $1 ~ /^initrd(16|efi)?$/ && kernel && !initrd { initrd = $2; more = NF > 2 }
      $1 == "}" && kernel { exit }
      END { if (kernel && !more) { print kernel; print initrd; print words } }' "$menu" > "$RUN/menu"
    { read -r KERNEL; read -r INITRD; read -r WORDS; } < "$RUN/menu"
    # A quoted word is none that could be passed on as it stands.
    case $KERNEL$INITRD$WORDS in *[\"\'\`\\\$]*) KERNEL= ;; esac
    if [ -n "$KERNEL" ] && [ -r "$ROOT$KERNEL" ]; then return 0; fi
    KERNEL=
  done
  return 1
}

load_kernel() {
  set -- --append="$WORDS" "$ROOT$KERNEL"
  [ -z "$INITRD" ] || set -- --initrd="$ROOT$INITRD" "$@"
  # -a: first as the kernel can check signatures, then without
  kexec -a -l "$@" > "$RUN/kexec.log" 2>&1 && LOADED=1
}

starts_itself() {
  if [ -d "$SYS/firmware/efi" ]; then
    [ -n "$EFI" ]
  else
    # the boot code before the table
    [ "$(head -c 440 "$DISK" | tr -d '\000' | wc -c)" -gt 0 ]
  fi
}
