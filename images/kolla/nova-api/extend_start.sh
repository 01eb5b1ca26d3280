#!/bin/bash
# Sourced through kolla_extend_start. One of these variables, set to anything or nothing, makes the container a job that ends.
# BOOTSTRAP and OSM are repeated safely; a failing command ends the start (kolla_start runs under errexit).
if [[ "${!KOLLA_BOOTSTRAP[@]}" ]]; then
  nova-manage api_db sync
  nova-manage db sync --local_cell
  nova-manage db online_data_migrations
  exit 0
fi
if [[ "${!KOLLA_UPGRADE[@]}" ]]; then
  nova-manage api_db sync
  nova-manage db sync
  exit 0
fi
if [[ "${!KOLLA_OSM[@]}" ]]; then
  nova-manage db online_data_migrations
  exit 0
fi
if [[ "${!KOLLA_UPGRADE_CHECK[@]}" ]]; then
  # 1 warns, and the upgrade may go on (nova-status(1)): where kolla-ansible would judge, there is only a Job
  nova-status upgrade check || { code=$?; [[ $code -eq 1 ]] || exit $code; }
  exit 0
fi
