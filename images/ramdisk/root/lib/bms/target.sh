# The disk as an iSCSI target: one name, one address, CHAP, one initiator. By the kernel (LIO, set up through configfs), or where that has none and this
# ramdisk was built for it, by tgtd.

CONFIG=/sys/kernel/config
ISCSI_PORT=3260
# LUN 0 is tgtd's controller, so the disk is LUN 1 in either case.
LUN=1

start_target() {
  # What the secret is, both sides compute from the deployment key; it never crosses the network.
  # Never a digit first: LIO takes 0b for the beginning of a number in base64, and refuses the login.
  user=bms-${IQN##*:}
  secret=$(keyed chap | cut -c 1-32)
  # Where LIO keeps persistent reservations; it looks for the folder when its module is loaded.
  mkdir -p /etc/target/pr
  if modprobe -a configfs target_core_mod target_core_iblock iscsi_target_mod; then
    TARGET=lio
  elif [ -x /bin/tgtd ]; then
    TARGET=tgt
  else
    fail 'this kernel has no iSCSI target, and this ramdisk was not built with --target tgt'
  fi
  "start_$TARGET"
}

# Ends every session; what was written is on the disk before the machine restarts, and nobody can log in any more, with whatever he has heard.
stop_target() {
  if "stop_$TARGET"; then say 'the iSCSI target and its secret are gone'; else say 'the iSCSI target could not be removed'; fi
  sync
  blockdev --flushbufs "$DISK"
}

start_lio() {
  mountpoint -q "$CONFIG" 2> /dev/null || mount -t configfs configfs "$CONFIG" 2> /dev/null
  mkdir -p "$CONFIG/target/iscsi" && mkdir -p "$CONFIG/target/core/iblock_0/disk" || fail 'the iSCSI target cannot be set up'
  store=$CONFIG/target/core/iblock_0/disk
  echo "udev_path=$DISK" > "$store/control" || fail "$DISK cannot be exported"
  echo 1 > "$store/enable" || fail "$DISK cannot be exported: somebody else has it open"
  # The deploy-helper compares the serial number with the machine's record before it writes: it must be the disk's.
  [ -z "$DISK_SERIAL" ] || echo "$DISK_SERIAL" > "$store/wwn/vpd_unit_serial" || fail "$DISK does not take its serial number for export"

  portal=$CONFIG/target/iscsi/$IQN/tpgt_1
  lun=$portal/lun/lun_$LUN
  mkdir -p "$portal" && mkdir -p "$lun" || fail "$IQN is no name of a target"
  ln -s "$store" "$lun/disk" || fail "$DISK cannot be exported"
  mkdir -p "$portal/np/$ADDRESS:$ISCSI_PORT" || fail "the iSCSI target cannot listen on $ADDRESS:$ISCSI_PORT"
  echo 1 > "$portal/attrib/authentication"
  if [ -n "$INITIATOR" ]; then
    list=$portal/acls/$INITIATOR
    mkdir -p "$list" && mkdir -p "$list/lun_$LUN" && ln -s "$lun" "$list/lun_$LUN/disk" || fail "$INITIATOR is no name of an initiator"
    credentials=$list/auth
  else
    echo 1 > "$portal/attrib/generate_node_acls"
    echo 0 > "$portal/attrib/demo_mode_write_protect"
    credentials=$portal/auth
  fi
  printf %s "$user" > "$credentials/userid" && printf %s "$secret" > "$credentials/password" || fail 'the iSCSI target takes no CHAP secret'
  echo 1 > "$portal/enable" || fail 'the iSCSI target does not start'
}

# Not only switched off: what could be switched on again, the secret in it, is removed.
stop_lio() {
  echo 0 > "$portal/enable"
  if [ -n "$list" ]; then
    rm -f "$list/lun_$LUN/disk"
    rmdir "$list/lun_$LUN" "$list"
  fi
  rm -f "$lun/disk"
  rmdir "$portal/np/$ADDRESS:$ISCSI_PORT" "$lun" "$portal" "${portal%/*}" "$store"
  [ ! -e "${portal%/*}" ]
}

start_tgt() {
  mkdir -p /var/run
  [ -e /var/run/tgtd ] || ln -s "$RUN" /var/run/tgtd
  # It tells of RDMA, which is not here, on its standard error.
  tgtd --iscsi "portal=$ADDRESS:$ISCSI_PORT" > "$RUN/tgtd.log" 2>&1 < /dev/null || fail "tgtd does not start: $(tail -n 1 "$RUN/tgtd.log")"
  tries=0
  until tgt target --op new --tid 1 --targetname "$IQN"; do
    tries=$((tries + 1))
    [ "$tries" -lt 20 ] || fail "tgtd does not take the target $IQN: $(head -n 1 "$RUN/tgtadm.log")"
    sleep 0.2
  done
  tgt logicalunit --op new --tid 1 --lun $LUN --backing-store "$DISK" --blocksize "$DISK_BLOCK_BYTES" \
    || fail "$DISK cannot be exported: $(head -n 1 "$RUN/tgtadm.log")"
  # A comma would end the value.
  [ -z "$DISK_SERIAL" ] || tgt logicalunit --op update --tid 1 --lun $LUN --params "scsi_sn=$(printf %s "$DISK_SERIAL" | tr , .)"
  # tgtadm knows no other way than an argument. Nobody else runs here who could read it.
  tgt account --op new --user "$user" --password "$secret" && tgt account --op bind --tid 1 --user "$user" \
    || fail 'the iSCSI target takes no CHAP secret'
  if [ -n "$INITIATOR" ]; then
    tgt target --op bind --tid 1 --initiator-name "$INITIATOR" || fail "$INITIATOR is no name of an initiator"
  else
    tgt target --op bind --tid 1 --initiator-address ALL || fail 'the iSCSI target does not start'
  fi
}

stop_tgt() {
  # A connection that is idle does not keep it.
  tgt target --op delete --force --tid 1
  tgt account --op delete --user "$user"
  killall tgtd
  gone=0
  while pidof tgtd > /dev/null; do
    gone=$((gone + 1))
    [ "$gone" -lt 20 ] || return 1
    sleep 0.1
  done
}

# tgt MODE OPTION …
tgt() {
  mode=$1
  shift
  tgtadm --lld iscsi --mode "$mode" "$@" > "$RUN/tgtadm.log" 2>&1
}
