export { isAnswering, type Part, partsOf } from './parts.js'
export { behindMarks, subjectOf } from './subject.js'
