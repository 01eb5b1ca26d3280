#!/bin/bash
# Sourced by kolla_start in every service of nova: its log directory, then what the service itself has to do first.
if [[ ! -d /var/log/kolla/nova ]]; then
  mkdir -p /var/log/kolla/nova
fi
if [[ $(stat -c %a /var/log/kolla/nova) != 755 ]]; then
  chmod 755 /var/log/kolla/nova
fi

. /usr/local/bin/kolla_nova_extend_start
