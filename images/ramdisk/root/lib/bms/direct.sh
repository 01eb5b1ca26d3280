direct() { fail 'this ramdisk does not know deploy_method=direct'; }
