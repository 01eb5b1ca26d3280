/** The app that `cdk8s synth` runs: every site of the fleet is one chart of dist/. */
import { App } from 'cdk8s';
import { wuxi2 } from '../examples/wuxi2.ts';

const app = new App();
wuxi2(app);
app.synth();
