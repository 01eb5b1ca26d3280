/** Images and flavors. */
import { join } from 'node:path';
import type { ImageRegistration } from 'cdk8s-baremetal-contract/api/index';
import { contentDigest, type DiskImage } from '../../deploy/image/index.ts';
import { type FlavorRecord, flavorKind, type ImageRecord, imageKind } from '../../machine/index.ts';
import type { Stored } from '../../store/index.ts';
import { etagOf } from '../at-version.ts';
import type { HandlersOf } from '../call.ts';
import { apiErrors, Refusal } from '../errors.ts';
import type { HandlerContext } from './context.ts';

type CatalogOperation =
  | 'listImages'
  | 'registerImage'
  | 'showImage'
  | 'removeImage'
  | 'listFlavors'
  | 'createFlavor'
  | 'showFlavor'
  | 'removeFlavor';

export function catalogHandlers(context: HandlerContext): HandlersOf<CatalogOperation> {
  const { store, index } = context;
  return {
    listImages: async () => ({ answer: { images: (await store.list(imageKind)).map(({ value }) => value) } }),

    registerImage: async ({ body, request }) => {
      if (await store.get(imageKind, body.id)) throw new Refusal(apiErrors.API_TAKEN({ what: 'image', id: body.id }));
      const value = body.source === undefined ? await examined(context, body, request.signal) : described(body);
      const created = await store.create(imageKind, body.id, value);
      if (created.outcome === 'exists') throw new Refusal(apiErrors.API_TAKEN({ what: 'image', id: body.id }));
      return { answer: value, etag: etagOf(created.record), location: `/v1/images/${body.id}` };
    },

    showImage: async ({ parameters }) => {
      const record = await imageOf(context, parameters.image);
      return { answer: record.value, etag: etagOf(record) };
    },

    removeImage: async ({ parameters }) => {
      const record = await imageOf(context, parameters.image);
      await index.ready();
      const user = index.list().find(({ imageInUse }) => imageInUse === record.id);
      if (user) throw new Refusal(apiErrors.API_USED({ what: 'image', id: record.id, by: `the deployment of ${user.summary.name}` }));
      await store.delete(imageKind, record, record.version);
      return {};
    },

    listFlavors: async () => ({ answer: { flavors: (await store.list(flavorKind)).map(({ value }) => value) } }),

    createFlavor: async ({ body }) => {
      const value: FlavorRecord = { ...body, name: body.name ?? body.id };
      const created = await store.create(flavorKind, body.id, value);
      if (created.outcome === 'exists') throw new Refusal(apiErrors.API_TAKEN({ what: 'flavor', id: body.id }));
      return { answer: value, etag: etagOf(created.record), location: `/v1/flavors/${body.id}` };
    },

    showFlavor: async ({ parameters }) => {
      const record = await flavorOf(context, parameters.flavor);
      return { answer: record.value, etag: etagOf(record) };
    },

    removeFlavor: async ({ parameters }) => {
      const record = await flavorOf(context, parameters.flavor);
      await store.delete(flavorKind, record, record.version);
      return {};
    },
  };
}

export async function imageOf({ store }: Pick<HandlerContext, 'store'>, id: string): Promise<Stored<ImageRecord>> {
  const record = await store.get(imageKind, id);
  if (!record) throw new Refusal(apiErrors.API_NO_IMAGE({ image: id }));
  return record;
}

export async function flavorOf({ store }: Pick<HandlerContext, 'store'>, id: string): Promise<Stored<FlavorRecord>> {
  const record = await store.get(flavorKind, id);
  if (!record) throw new Refusal(apiErrors.API_NO_FLAVOR({ flavor: id }));
  return record;
}

/** Of a file elsewhere: it is fetched, and everything said of it is checked, when the first machine needs it. */
function described({ id, name = id, format, source, checksum, sha256, boot, kernelId, ramdiskId, layout }: ImageRegistration): ImageRecord {
  const refuse = (reason: string): Refusal => new Refusal(apiErrors.API_IMAGE_SOURCE({ image: id, reason }));
  if (format === undefined) throw refuse('its format is not given');
  // Whoever is on the way could put anything on the machines.
  if (source?.startsWith('http:') && checksum === undefined && sha256 === undefined) throw refuse('plain http without a checksum');
  return {
    id,
    name,
    format,
    boot,
    ...(source !== undefined && { source }),
    ...(checksum !== undefined && { checksum: checksum.toLowerCase() }),
    ...(sha256 !== undefined && { sha256 }),
    ...(kernelId !== undefined && { kernelId }),
    ...(ramdiskId !== undefined && { ramdiskId }),
    ...(layout && { layout }),
  };
}

/** Reads the file whole: what is registered is what is there, down to the last byte. */
async function examined({ userImages, openImage }: HandlerContext, given: ImageRegistration, signal: AbortSignal): Promise<ImageRecord> {
  const path = join(userImages, given.id);
  let image: DiskImage;
  try {
    image = await openImage({ path, ...(given.format && { format: given.format }), signal });
  } catch (error) {
    if (isMissing(error)) throw new Refusal(apiErrors.API_NO_IMAGE_FILE({ image: given.id, path }));
    throw error;
  }
  try {
    if (given.format !== undefined && given.format !== image.format)
      throw new Refusal(apiErrors.API_IMAGE_DIFFERS({ image: given.id, found: image.format, given: given.format }));
    const sha256 = await contentDigest(image, { signal });
    if (given.sha256 !== undefined && given.sha256 !== sha256)
      throw new Refusal(apiErrors.API_IMAGE_DIFFERS({ image: given.id, found: `SHA-256 ${sha256}`, given: given.sha256 }));
    const { id, name = id, boot, kernelId, ramdiskId, layout } = given;
    return {
      id,
      name,
      format: image.format,
      sizeBytes: image.virtualSizeBytes,
      sha256,
      boot,
      ...(kernelId !== undefined && { kernelId }),
      ...(ramdiskId !== undefined && { ramdiskId }),
      ...(layout && { layout }),
    };
  } finally {
    await image.close();
  }
}

/** Looks through the causes: whoever opens a file may put the system's word into its own. */
function isMissing(error: unknown): boolean {
  for (let one = error; one instanceof Error; one = one.cause) if ('code' in one && one.code === 'ENOENT') return true;
  return false;
}
