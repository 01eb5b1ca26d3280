import { z } from 'zod';

/** An address, never a name: who answers at it must not change with somebody's name server. */
export const ipAddressText = z.union([z.ipv4(), z.ipv6()], { error: 'must be an IP address' });
