export { systemClock, systemRandom } from '../system/index.js'
