/** DHCP messages in the shape that firmware and servers put on the wire, written out field by field. */
function capture(...pieces: readonly string[]): Uint8Array {
  return new Uint8Array(Buffer.from(pieces.join(''), 'hex'));
}

function zeros(bytes: number): string {
  return '00'.repeat(bytes);
}

/** Intel Boot Agent, BIOS: pads to 548 bytes and asks for everything. */
export const INTEL_PXE_DISCOVER = capture(
  '010106003456789a00048000', // op htype hlen hops xid secs flags
  '00000000000000000000000000000000', // ciaddr yiaddr siaddr giaddr
  '52540012345600000000000000000000', // chaddr
  zeros(64),
  zeros(128),
  '63825363', // magic
  '350101', // option 53
  '372401020305060b0c0d0f10111216171c28292a2b3233363a3b3c4243618081828384858687', // option 55
  '390204ec', // option 57
  '61110044454c4c570010368047b4c04f315a31', // option 97
  '5d020000', // option 93
  '5e03010201', // option 94
  '3c20505845436c69656e743a417263683a30303030303a554e44493a303032303031', // option 60
  'ff',
  zeros(200),
);

/** EDK2 x64, PXE over IPv4. */
export const EDK2_X64_DISCOVER = capture(
  '010106000badcafe00008000', // op htype hlen hops xid secs flags
  '00000000000000000000000000000000', // ciaddr yiaddr siaddr giaddr
  '525400aabb0700000000000000000000', // chaddr
  zeros(64),
  zeros(128),
  '63825363', // magic
  '350101', // option 53
  '390205c0', // option 57
  '37230102030405060c0d0f111216171c28292a2b3233363a3b3c4243618081828384858687', // option 55
  '61110078563412341278569abcdef012345678', // option 97
  '5e03010310', // option 94
  '5d020007', // option 93
  '3c20505845436c69656e743a417263683a30303030373a554e44493a303033303136', // option 60
  'ff',
);

/** EDK2 x64, UEFI HTTP boot. */
export const EDK2_HTTP_DISCOVER = capture(
  '0101060000c0ffee00008000', // op htype hlen hops xid secs flags
  '00000000000000000000000000000000', // ciaddr yiaddr siaddr giaddr
  '525400aabb1000000000000000000000', // chaddr
  zeros(64),
  zeros(128),
  '63825363', // magic
  '350101', // option 53
  '390205c0', // option 57
  '37230102030405060c0d0f111216171c28292a2b3233363a3b3c4243618081828384858687', // option 55
  '61110078563412341278569abcdef012345678', // option 97
  '5e03010310', // option 94
  '5d020010', // option 93
  '3c2148545450436c69656e743a417263683a30303031363a554e44493a303033303031', // option 60
  'ff',
);

/** iPXE: bare user class, encapsulated feature options 175. */
export const IPXE_DISCOVER = capture(
  '0101060077665544000c0000', // op htype hlen hops xid secs flags
  '00000000000000000000000000000000', // ciaddr yiaddr siaddr giaddr
  '52540012345600000000000000000000', // chaddr
  zeros(64),
  zeros(128),
  '63825363', // magic
  '350101', // option 53
  '390205c0', // option 57
  '5d020000', // option 93
  '5e03010201', // option 94
  '3c20505845436c69656e743a417263683a30303030303a554e44493a303032303031', // option 60
  '4d0469505845', // option 77
  '3717010306070c0f111a2b3c4243778081828384858687afcb', // option 55
  'af27b1050110ec1000eb03010000170101210101100101220101130101110101270101190101120101', // option 175
  '3d0701525400123456', // option 61
  '61110044454c4c570010368047b4c04f315a31', // option 97
  'ff',
);

/** The same Intel ROM asks a boot server on port 4011 for boot item 0x8000. */
export const PXE_BOOT_SERVER_REQUEST = capture(
  '010106003456789a00040000', // op htype hlen hops xid secs flags
  'c0a83264000000000000000000000000', // ciaddr yiaddr siaddr giaddr
  '52540012345600000000000000000000', // chaddr
  zeros(64),
  zeros(128),
  '63825363', // magic
  '350103', // option 53
  '370701032b3c424361', // option 55
  '390204ec', // option 57
  '61110044454c4c570010368047b4c04f315a31', // option 97
  '5d020000', // option 93
  '5e03010201', // option 94
  '3c20505845436c69656e743a417263683a30303030303a554e44493a303032303031', // option 60
  '2b07470480000000ff', // option 43
  'ff',
);

/** A PXE client behind a relay (10.128.192.254) that adds circuit and remote id. */
export const RELAYED_DISCOVER = capture(
  '010106011020304000080000', // op htype hlen hops xid secs flags
  '0000000000000000000000000a80c0fe', // ciaddr yiaddr siaddr giaddr
  '52540012345600000000000000000000', // chaddr
  zeros(64),
  zeros(128),
  '63825363', // magic
  '350101', // option 53
  '37050103064243', // option 55
  '3c20505845436c69656e743a417263683a30303030303a554e44493a303032303031', // option 60
  '5d020000', // option 93
  '52140108000401910001000502080006001b21aabbcc', // option 82
  'ff',
);

/** An offer for the Intel ROM, as a server with a plain boot file (dnsmasq --dhcp-boot) makes it. */
export const DNSMASQ_OFFER = capture(
  '020106003456789a00008000', // op htype hlen hops xid secs flags
  '00000000c0a83264c0a8321400000000', // ciaddr yiaddr siaddr giaddr
  '52540012345600000000000000000000', // chaddr
  zeros(64),
  '7078656c696e75782e30', // file
  zeros(118),
  '63825363', // magic
  '350102', // option 53
  '3604c0a83214', // option 54
  '330400000e10', // option 51
  '0104ffffff00', // option 1
  '0304c0a832fe', // option 3
  'ff',
  zeros(32),
);
