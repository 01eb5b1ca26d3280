# The disk as an iSCSI target of the kernel's own (LIO, set up through configfs): one name, one address, CHAP, one initiator.

CONFIG=/sys/kernel/config
ISCSI_PORT=3260

start_target() {
  # Where the target keeps persistent reservations; it looks for the folder when its module is loaded.
  mkdir -p /etc/target/pr
  modprobe -a configfs target_core_mod target_core_iblock iscsi_target_mod || fail 'this kernel has no iSCSI target'
  mountpoint -q "$CONFIG" 2> /dev/null || mount -t configfs configfs "$CONFIG" 2> /dev/null
  mkdir -p "$CONFIG/target/iscsi" && mkdir -p "$CONFIG/target/core/iblock_0/disk" || fail 'the iSCSI target cannot be set up'
  store=$CONFIG/target/core/iblock_0/disk
  echo "udev_path=$DISK" > "$store/control" || fail "$DISK cannot be exported"
  echo 1 > "$store/enable" || fail "$DISK cannot be exported: somebody else has it open"
  # The deploy-helper compares the serial number with the machine's record before it writes: it must be the disk's.
  [ -z "$DISK_SERIAL" ] || echo "$DISK_SERIAL" > "$store/wwn/vpd_unit_serial" || fail "$DISK does not take its serial number for export"

  portal=$CONFIG/target/iscsi/$IQN/tpgt_1
  mkdir -p "$portal" && mkdir -p "$portal/lun/lun_1" || fail "$IQN is no name of a target"
  ln -s "$store" "$portal/lun/lun_1/disk" || fail "$DISK cannot be exported"
  mkdir -p "$portal/np/$ADDRESS:$ISCSI_PORT" || fail "the iSCSI target cannot listen on $ADDRESS:$ISCSI_PORT"
  echo 1 > "$portal/attrib/authentication"
  # What the secret is, both sides compute from the deployment key; it never crosses the network.
  user=${IQN##*:}
  secret=$(keyed chap | cut -c 1-32)
  if [ -n "$INITIATOR" ]; then
    list=$portal/acls/$INITIATOR
    mkdir -p "$list" && mkdir -p "$list/lun_1" && ln -s "$portal/lun/lun_1" "$list/lun_1/disk" || fail "$INITIATOR is no name of an initiator"
    credentials=$list/auth
  else
    echo 1 > "$portal/attrib/generate_node_acls"
    echo 0 > "$portal/attrib/demo_mode_write_protect"
    credentials=$portal/auth
  fi
  printf %s "$user" > "$credentials/userid"
  printf %s "$secret" > "$credentials/password"
  echo 1 > "$portal/enable" || fail 'the iSCSI target does not start'
}

# Ends every session; what was written is on the disk before the machine restarts.
stop_target() {
  echo 0 > "$portal/enable"
  sync
}
