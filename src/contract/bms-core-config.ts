/**
 * The configuration of bms-core, /etc/baremetal-api/baremetal-api.ini: the sections that bms_core has always had, in
 * their order, then those of the roles that now live in the same process. The constructs render only what a site sets,
 * so a site that sets nothing new gets the file it always had.
 */
import { type ConfigInput, type ConfigOf, defineConfig } from './config/define-config.ts';
import { cidr, hostAddress, ipAddress, port as portNumber, uri } from './config/network-types.ts';
import { option } from './config/options.ts';
import { boolean, choice, integer, listOf, secret, string } from './config/value-types.ts';
import { BMS_CORE, POD_NAME, SITE_NAME } from './names.ts';
import { path } from './paths.ts';
import { port } from './ports.ts';

const absolutePath = () => string({ pattern: /^\//, what: 'absolute path' });
const HOST = String.raw`(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9][A-Za-z0-9._-]*)(:\d{1,5})?`;
/** What every loader passes on as it is. */
const KERNEL_WORDS = /^[\w .,:=@%+/*!~[\]-]*$/;
const BACKEND_URL = new RegExp(`^(kazoo://${HOST}(,${HOST})*(/[A-Za-z0-9._/-]*)?|kubernetes://[a-z0-9-]*(/[a-z0-9-]{1,63})?|memory://)$`);
// No password in the URL: the file is a ConfigMap.
const STORE_URL =
  /^(sqlite:\/\/\/.+|memory:\/\/|kubernetes:\/\/[a-z0-9-]*(\/[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)?|mysql:\/\/([^\s:@/]+@)?[^\s:@/]+(:\d{1,5})?\/[^\s/]+)$/;

const role = (help: string) => option(boolean(), { default: true, help });
const address = () => option(ipAddress(), { default: '0.0.0.0', help: 'Address to listen on.' });

/** Said of options that the original's file must be read with, and that act on nothing here. */
const UNUSED = 'Read and checked, since the original’s file has it; nothing here uses it.';

export const bmsCoreConfig = defineConfig({
  daemon: BMS_CORE,
  file: path.configFile,
  envPrefix: 'BMS',
  about:
    'bms-core is the one process of a management node: API, deploy-helper, DHCP, TFTP, HTTP boot, power and the conductor. ' +
    'Three values follow from the VIP of VLAN 1800 and are checked against it: `[pxe] nfs_server_ip`, `[center] scheduler_callback` and `[sw_coordination] backend_url`.',
  sections: {
    DEFAULT: {
      server_port: option(portNumber({ min: 1 }), { default: port.api, help: 'TCP port of the API.' }),
      pidfile: option(absolutePath(), { default: '/var/run/cdsstack/baremetal.pid', help: 'Where the process number is written.' }),
      max_retries: option(integer({ min: 0, max: 1000 }), {
        default: 10,
        help: 'How often a notification to bms_control is sent again before it is given up.',
      }),
      huawei_switch_max_connection: option(integer({ min: 1, max: 1000 }), {
        default: 20,
        help: `Management sessions that all replicas together may hold to one Huawei switch. ${UNUSED}`,
      }),
    },
    hitachi: {
      wwn_id: option(string({ pattern: /^wwn-0x[0-9a-f]{1,32}$/i, what: 'WWN such as wwn-0x60060e80…' }), {
        help: `World wide name of the Hitachi array’s volumes, in the form of /dev/disk/by-id. ${UNUSED}`,
      }),
    },
    pxe: {
      nfs_server_ip: option(ipAddress(), { help: 'Server of the NFS export /tftpboot: the VIP of VLAN 1800. None: no NFS.' }),
      tftpboot_dir: option(absolutePath(), { default: path.tftpRoot, help: 'Root of everything that machines fetch while they boot.' }),
      pxelinux_dir: option(absolutePath(), {
        defaultFrom: '$tftpboot_dir/pxelinux',
        help: `Boot loaders and their configuration files. ${UNUSED}`,
      }),
      deploy_image_dir: option(absolutePath(), { defaultFrom: '$tftpboot_dir/deploy_image_template', help: 'Templates of deploy images.' }),
      user_image_dir: option(absolutePath(), {
        defaultFrom: '$tftpboot_dir/user_images',
        help: 'Images that users put on their machines.',
      }),
    },
    center: {
      scheduler_callback: option(uri({ schemes: ['http', 'https'] }), {
        help: 'Where bms_control wants to hear of finished tasks: `http://VIP:17070/bms/v1/task/pxe/notify`. None: nobody is told.',
      }),
    },
    sw_coordination: {
      backend_url: option(string({ pattern: BACKEND_URL, what: 'coordination URL' }), {
        required: true,
        help:
          'Where replicas coordinate: `kazoo://host:2181[,host:2181…][/path]` for ZooKeeper, `kubernetes://[namespace][/scope]` for Leases of the cluster, ' +
          '`memory://` for a single replica.',
      }),
      max_connections: option(integer({ min: 1, max: 1000 }), { default: 4, help: 'Sessions that may be open to one switch at a time.' }),
      acquire_lock_timeout: option(integer({ min: 1, max: 86_400 }), {
        default: 300,
        unit: 's',
        help: 'How long to wait for a switch’s lock before the task fails.',
      }),
    },
    sw_conn: {
      conn_type: option(choice(['ssh', 'telnet']), {
        default: 'ssh',
        help: `How switches are reached. Telnet sends passwords in the clear. ${UNUSED}`,
      }),
      device_type: option(choice(['huawei']), { default: 'huawei', help: `Dialect of the switches’ command line. ${UNUSED}` }),
    },
    shellinabox_console: {
      pid_dir: option(absolutePath(), { default: '/var/run/console', help: `One file per open console. ${UNUSED}` }),
      host_ip: option(hostAddress(), { help: `Address that console URLs carry. ${UNUSED}` }),
      subprocess_timeout: option(integer({ min: 1, max: 3600 }), {
        default: 1,
        unit: 's',
        help: `How long a console may take to start. ${UNUSED}`,
      }),
    },
    auto_test: {
      bios_set: option(absolutePath(), { help: `Directory of the BIOS settings that acceptance tests apply. ${UNUSED}` }),
      nginx_ip: option(hostAddress(), { help: `Web server that acceptance tests fetch their tools from. ${UNUSED}` }),
    },
    api: {
      enabled: role('Serve the API.'),
      address: address(),
      tokens_file: option(absolutePath(), {
        help:
          'Who may use the API: a line `name role sha256` per token, role being reader, operator or admin; `bmctl token create` makes one. Mode 0600 or 0400. ' +
          'None: everybody may look, and only programs on the same machine may change anything.',
      }),
      tls_cert: option(absolutePath(), { help: 'Certificate chain in PEM: the API then speaks HTTPS only. Read again when it changes.' }),
      tls_key: option(absolutePath(), { help: 'Private key that goes with `tls_cert`, in PEM.' }),
      rate_limit: option(integer({ min: 0, max: 1_000_000 }), {
        default: 0,
        unit: 'requests/s',
        help: 'Requests per second of one token (of one address, without tokens); short bursts of twice as many pass. 0: no limit.',
      }),
    },
    dhcp: {
      enabled: role('Answer DHCP.'),
      mode: option(choice(['proxy', 'server']), {
        default: 'proxy',
        help: '`proxy` only adds boot options beside the DHCP server that the LAN has; `server` leases addresses too and needs a range.',
      }),
      listen: option(ipAddress({ version: 4 }), {
        default: '0.0.0.0',
        help:
          'Address to listen on where no `interfaces` are named. Another than 0.0.0.0 hears relays and renewals that are sent to it, and no machine’s ' +
          'broadcast.',
      }),
      port: option(portNumber({ min: 1 }), { default: port.dhcpServer, help: 'UDP port.' }),
      proxy_port: option(portNumber({ min: 1 }), { default: port.pxe, help: 'UDP port of the proxy’s boot server service.' }),
      interfaces: option(listOf(string({ pattern: /^[^\s/]{1,15}$/, what: 'network interface' })), {
        default: [],
        help:
          'Provisioning interfaces (VLANs) to answer on, each by a socket of its own, so that none hears another; empty means all, as one. ' +
          'Needs perl-base, and Linux 5.7 or the capability NET_RAW.',
      }),
      server_ip: option(ipAddress({ version: 4 }), {
        help: 'Own address that machines are told, for TFTP and as server identifier. None: that of the interface.',
      }),
      subnet: option(cidr(), { help: 'Network of the range, e.g. 192.168.50.0/24.' }),
      range_start: option(ipAddress({ version: 4 }), { help: 'First address to lease.' }),
      range_end: option(ipAddress({ version: 4 }), { help: 'Last address to lease.' }),
      gateway: option(ipAddress({ version: 4 }), { help: 'Default router that machines are told.' }),
      networks: option(listOf(string({ pattern: /^[\d.]+\/\d+( +[a-z]+=[^\s]+)*$/, what: 'network with range=, gateway= and relay=' })), {
        default: [],
        help:
          'Further networks in `server` mode, of other interfaces or behind relays: ' +
          '`192.168.51.0/24 range=192.168.51.100-192.168.51.199 gateway=192.168.51.254 relay=10.0.0.1`.',
      }),
      unknown_machines: option(choice(['ignore', 'offer', 'discover']), {
        default: 'ignore',
        help:
          'What machines that nobody has enrolled are answered: `ignore`; `offer` an address and no boot file (in `server` mode); ' +
          '`discover`: nothing, but those that boot over the network are enrolled, without a BMC, until somebody completes them (`bmctl boot` lists them).',
      }),
      discover_limit: option(integer({ min: 1, max: 10_000 }), {
        default: 64,
        help: 'How many discovered machines may wait for somebody to complete them. Beyond, none is enrolled.',
      }),
      discover_rate: option(integer({ min: 1, max: 1000 }), {
        default: 20,
        unit: 'machines/min',
        help: 'How many unknown machines are enrolled in a minute at most; others are when they ask again.',
      }),
      authoritative: option(boolean(), {
        default: false,
        help: 'Refuse (NAK) addresses that clients wrongly believe to hold. Only where no other DHCP server serves the network.',
      }),
      probe_ms: option(integer({ min: 0, max: 3000 }), {
        default: 300,
        unit: 'ms',
        help: 'How long an address is looked for on the network before it is offered. 0: not at all.',
      }),
      watch_replies: option(boolean(), {
        default: false,
        help: 'In `server` mode, listen on the client port (68) too, where other DHCP servers’ answers are heard. Without it they are noticed when a machine chooses one.',
      }),
      dns_servers: option(listOf(ipAddress({ version: 4 })), { default: [], help: 'Name servers that machines are told.' }),
      lease_time: option(integer({ min: 60, max: 31_536_000 }), { default: 3600, unit: 's', help: 'Duration of a lease.' }),
    },
    tftp: {
      enabled: role('Serve TFTP.'),
      address: address(),
      port: option(portNumber({ min: 1 }), { default: port.tftp, help: 'UDP port.' }),
      root: option(absolutePath(), { defaultFrom: '$pxe.tftpboot_dir', help: 'Directory whose files are served, read only.' }),
      loader_dir: option(absolutePath(), {
        default: '/usr/share/bms-core/loaders',
        help: 'Boot loaders that come with the image; a file of the same name below `root` wins.',
      }),
      max_block_size: option(integer({ min: 512, max: 65_464 }), {
        help: 'Largest block granted, in bytes. None: what one packet of the interface carries (1468 on Ethernet).',
      }),
      single_port: option(boolean(), {
        default: false,
        help: 'Serve every transfer over the one port, for firewalls and address translation between machines and bms-core.',
      }),
    },
    http_boot: {
      enabled: role('Serve boot files over HTTP.'),
      address: address(),
      port: option(portNumber({ min: 1 }), { default: 7082, help: 'TCP port.' }),
    },
    boot: {
      append_params: option(string({ pattern: KERNEL_WORDS, what: 'kernel command line' }), {
        default: 'nofb nomodeset vga=normal',
        help:
          'Words for the kernels that are started over the network, the deploy ramdisk’s and those of instances without a loader of their own: `console=ttyS1,115200n8`, ' +
          'for one. The ramdisk’s kernel is told `quiet` besides unless a word here says how much it shall print (`debug`, `loglevel=`): it prints its command line otherwise, ' +
          'the deployment key in it.',
      }),
    },
    deploy_helper: {
      enabled: role('Accept what deploy ramdisks post, and write images.'),
      address: address(),
      port: option(portNumber({ min: 1 }), { default: port.deployHelper, help: 'TCP port; deploy ramdisks know no other.' }),
      deploy_timeout_s: option(integer({ min: 1, max: 604_800 }), {
        default: 1800,
        unit: 's',
        help: 'A machine that has not finished its deployment by then has failed.',
      }),
      workers: option(integer({ min: 1, max: 256 }), { default: 16, help: 'Images that are written at the same time.' }),
      method: option(choice(['iscsi', 'direct']), {
        default: 'iscsi',
        help:
          'How images get onto disks where neither flavor (extra spec `baremetal:deploy_method`) nor machine (capability `deploy_method`) says: `iscsi`, ' +
          'written from here; `direct`, pulled by the deploy ramdisk.',
      }),
      restart: option(choice(['firmware', 'kexec']), {
        default: 'firmware',
        help:
          'How a machine whose disk was written comes into its own system: `firmware`, as at every later start; `kexec`, at once, by a deploy ramdisk that was ' +
          'built with --kexec and finds a boot menu on the disk. Images that boot over the network, and whatever else stands in its way: by the firmware.',
      }),
      wait_for_phone_home: option(boolean(), {
        default: false,
        help:
          'A machine is active when its instance has reported itself, by cloud-init or a first-boot script, as its config drive asks it to. A flavor’s extra ' +
          'spec `baremetal:wait_for_phone_home` comes first.',
      }),
      phone_home_timeout_s: option(integer({ min: 1, max: 604_800 }), {
        default: 900,
        unit: 's',
        help: 'How long after its first boot an instance may take to report itself, where that is waited for.',
      }),
      phone_home_url: option(uri({ schemes: ['http'] }), {
        help: 'Where instances report, without a path: an address that all replicas answer at. Not set: this management node’s deploy-helper.',
      }),
      address_check: option(choice(['lease', 'source']), {
        default: 'lease',
        help:
          'From where a deployment key may be used: `lease`, from the address that the machine leased; `source`, for networks whose leases are not ours, ' +
          'from the address that the POST itself names.',
      }),
      open_targets: option(boolean(), {
        default: false,
        help: 'Also write to disks that a deploy ramdisk exports without CHAP, as ramdisks of the original’s protocol do: to everybody on the LAN.',
      }),
      bandwidth: option(integer({ min: 0, max: 100_000 }), {
        default: 0,
        unit: 'MB/s',
        help: 'What all images together may take of the provisioning network; 0 is no limit.',
      }),
      read_back: option(choice(['none', 'sample', 'all']), {
        default: 'sample',
        help: 'How much of a written image is read from the disk again and compared, before the machine may boot it.',
      }),
    },
    ipmi: {
      port: option(portNumber({ min: 1 }), { default: port.ipmi, help: 'UDP port of the BMCs.' }),
      retry: option(integer({ min: 0, max: 1000 }), { default: 10, help: 'How often a power command is tried again.' }),
      cipher_suite: option(choice(['17', '3', 'auto']), {
        default: '17',
        help:
          'RMCP+ cipher suite: 17 (SHA-256); 3 (SHA-1) for BMCs that know nothing newer; or auto, the better one that each BMC lists. The list is not protected, so with ' +
          'auto somebody on the way can bring a BMC down to 3: hence not the default.',
      }),
      credentials_dir: option(absolutePath(), {
        default: path.credentialsDirectory,
        help: 'Mounted Secrets with BMC credentials, a folder each with the files `username` and `password`.',
      }),
    },
    redfish: {
      ca_file: option(absolutePath(), {
        help: 'PEM of the authorities that sign the certificates of Redfish services; without it the system’s. A certificate can also be pinned in the address.',
      }),
    },
    virtual_power: {
      programs: option(listOf(absolutePath()), {
        default: [],
        help: 'Programs that virtual+exec:// and virtual+ssh:// addresses with type=program may name; none unless listed, since whoever enrols machines is not meant to run programs.',
      }),
    },
    membership: {
      session_timeout: option(integer({ min: 2, max: 300 }), {
        default: 15,
        unit: 's',
        help:
          'How long others wait for a silent replica before they take over its machines; ZooKeeper grants between 2 and 20 of its ticks. Its own watchdog ' +
          'stops a replica that hears nothing at two thirds of it.',
      }),
    },
    power_sync: {
      enabled: role(
        'Look at the power of every machine at rest, and try remedies for faults: without it a fault that is reported stays until somebody clears it.',
      ),
      interval: option(integer({ min: 5, max: 86_400 }), {
        default: 60,
        unit: 's',
        help: 'Every machine is looked at once in this time, spread evenly over it.',
      }),
      policy: option(choice(['record-follows-bmc', 'bmc-follows-record', 'report']), {
        default: 'record-follows-bmc',
        help:
          'Where record and BMC disagree: believe the BMC; switch a machine in use back to where its last verb left it; or only say so on its ' +
          'timeline.',
      }),
      workers: option(integer({ min: 1, max: 1024 }), { default: 64, help: 'BMCs that are asked at the same time.' }),
      unreachable_after: option(integer({ min: 1, max: 100 }), {
        default: 3,
        help: 'Looks in a row without an answer before a BMC counts as unreachable.',
      }),
    },
    remedies: {
      patience: option(integer({ min: 1, max: 86_400 }), { default: 180, unit: 's', help: 'How long a fault may pass by itself.' }),
      grace: option(integer({ min: 1, max: 86_400 }), {
        default: 900,
        unit: 's',
        help: 'What a remedy gets before the next grade: soft reset, power cycle, quarantine.',
      }),
      budget: option(integer({ min: 0, max: 10_000 }), {
        default: 3,
        help: 'Remedies in the whole pod within the window; quarantine counts as one. 0: none at all.',
      }),
      window: option(integer({ min: 1, max: 86_400 }), { default: 600, unit: 's', help: 'The time that the budget is for.' }),
    },
    cleaning: {
      after_destroy: option(choice(['none', 'metadata', 'full']), {
        default: 'none',
        help:
          'What is erased when an instance is gone, before its machine is free again: nothing, as the original; what makes the disk look used; or ' +
          'every block.',
      }),
    },
    volumes: {
      driver: option(choice(['none', 'tgt']), {
        default: 'none',
        help: '`tgt` exports volumes of this management node over iSCSI with tgtadm; with `none` an instance that asks for volumes is refused.',
      }),
      dir: option(absolutePath(), {
        default: `${path.stateDirectory}/volumes`,
        help: 'Volumes as files, or links to block devices, named by their ids.',
      }),
      iqn_prefix: option(
        string({ pattern: /^iqn\.\d{4}-\d{2}\.[a-z0-9.-]+(:[a-z0-9.:-]+)?$/, what: 'iSCSI name such as iqn.2010-10.org.example' }),
        {
          default: 'iqn.2010-10.org.openstack.baremetal',
          help: 'Begins the names of targets: volumes, and the disks that deploy ramdisks export.',
        },
      ),
      use_unsafe_iscsi: option(boolean(), {
        default: false,
        help: 'Any initiator may log in to a volume while no address of its machine is known. Otherwise that is refused.',
      }),
    },
    vifs: {
      driver: option(choice(['none', 'recorder']), {
        default: 'none',
        help:
          '`none` gives virtual interfaces to physical ones and touches no switch; `recorder` switches the ports of a switch without hardware, and ' +
          'logs each: for trials.',
      }),
    },
    store: {
      url: option(string({ pattern: STORE_URL, what: 'store URL without a password' }), {
        default: `sqlite:///${path.stateDirectory}/bms.db`,
        help:
          'Where the records are: `sqlite:///var/lib/bms-core/bms.db` (always an absolute path, also with a fourth slash), `mysql://user@host[:port]/database`, ' +
          '`kubernetes://[namespace][/scope]` for BmsRecord objects (of the own namespace, of the own pod and site), or `memory://`, which forgets.',
      }),
      password: option(secret(), { help: 'Password that goes with a `mysql://` URL.' }),
      secrets_key_file: option(absolutePath(), {
        help:
          'Key under which passwords are kept in the store, so that replicas share them: 32 random bytes in base64 (`openssl rand -base64 32`), one key ' +
          'a line, the first one writes and all of them read. Mode 0400, 0440 or 0600. None: files beside the store, which only one replica can use.',
      }),
    },
    objects: {
      enabled: option(boolean(), {
        default: false,
        help:
          'Read the BareMetalNode objects of the own pod and enrol their machines. Only inside a cluster, and with a store that both management nodes share; ' +
          'the manifests switch it on.',
      }),
      site: option(string({ pattern: SITE_NAME, what: 'name of a site' }), { help: 'Whose objects. None: what the node’s name says.' }),
      pod: option(string({ pattern: POD_NAME, what: 'name of a pod such as pod45' }), {
        help: 'Whose objects. None: what the node’s name says.',
      }),
      forget_after: option(integer({ min: 0, max: 604_800 }), {
        default: 600,
        unit: 's',
        help: 'A machine whose object was deleted is held at once, and its record removed after this time if it carries no instance.',
      }),
    },
    image_cache: {
      dir: option(absolutePath(), { default: `${path.stateDirectory}/images`, help: 'Local copies of images; needs no NFS.' }),
      size_gb: option(integer({ min: 1, max: 1_000_000 }), {
        default: 100,
        unit: 'GB',
        help: 'What the copies may take; the one that was not used for the longest time goes first, one in use never.',
      }),
      largest_disk_gb: option(integer({ min: 1, max: 70_368 }), {
        default: 1000,
        unit: 'GB',
        help: 'Largest disk that an image may describe, holes included. One that claims more is refused before any of it is unpacked.',
      }),
      largest_stored_gb: option(integer({ min: 1, max: 1_000_000 }), {
        default: 50,
        unit: 'GB',
        help: 'What one image may store, fetched, unpacked or converted, holes left out. One that wants more is refused: it would push all others out.',
      }),
    },
  },
  sectionHelp: {
    hitachi: 'Storage array whose volumes some machines boot from.',
    pxe: 'The directory tree that machines boot from.',
    center: 'The control centre, bms_control.',
    sw_coordination: 'Locks and membership among replicas.',
    sw_conn: 'Connections to switches.',
    shellinabox_console: 'Serial consoles in the browser.',
    auto_test: 'Acceptance tests of machines.',
    boot: 'What machines are told when they start over the network.',
    http_boot: 'UEFI HTTP boot, and iPXE.',
    deploy_helper: 'Deployment over iSCSI.',
    membership: 'The life of a replica among the others.',
    power_sync: 'What the records say of power, held against what the BMCs say.',
    remedies: 'What is done about a machine in use that is faulty.',
    cleaning: 'Disks between two users.',
    volumes: 'Volumes of instances.',
    vifs: 'Virtual interfaces of instances.',
    redfish: 'Redfish services of BMCs.',
    virtual_power: 'Virtual machines in place of servers.',
    objects: 'Machines as Kubernetes objects.',
    image_cache: 'Images ready to be written, shared by all deployments of one replica.',
  },
});

/** Typed values as bms-core gets them. */
export type BmsCoreConfig = ConfigOf<typeof bmsCoreConfig>;
/** What a site may set. */
export type BmsCoreConfigInput = ConfigInput<typeof bmsCoreConfig>;
