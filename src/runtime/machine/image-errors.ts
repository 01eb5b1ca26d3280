import { defineErrors, entry } from 'cdk8s-baremetal-contract';

export const machineImageErrors = defineErrors('Images of machines', {
  MACHINE_IMAGE: entry<{ image: string; reason: string }>({
    message: ({ image, reason }) => `the image ${image} cannot be deployed: ${reason}`,
    cure: 'Check the file in [pxe] user_image_dir, or deploy_kernel and deploy_ramdisk in deploy_image_dir; register the image again if it was replaced',
  }),
});
