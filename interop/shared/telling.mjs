// How the JavaScript clients take their arguments and tell what came of their steps; see interop/README.md.

import { parseArgs } from 'node:util'
import { isDeepStrictEqual } from 'node:util'

/** Milliseconds that anything may take. */
export const PATIENCE = 30_000

/** The library itself can not do it; the message says why. */
export class Unsupported extends Error {}

/** Something is not as it should be; the message says what. */
export class Unexpected extends Error {}

/** Kafka's name of an error that the library tells in a form of its own. */
export class Refused extends Error {
  constructor(name, message) {
    super(message)
    this.kafka = name
  }
}

const { values } = parseArgs({
  options: {
    bootstrap: { type: 'string' },
    prefix: { type: 'string' },
    'replication-factor': { type: 'string', default: '1' },
    member: { type: 'string' },
  },
})

export const bootstrap = values.bootstrap.split(',')
export const prefix = values.prefix
export const replicationFactor = Number(values['replication-factor'])
/** The group, and topic, that this process is to be a member of until it is killed; undefined for a whole walk. */
export const memberOf = values.member

/** A name for a topic, a group or a transactional id that nobody else has. */
export const named = (of) => `${prefix}-${of}`

export const sleep = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds))

/** Wait until `condition` (which may be asynchronous) is true; throws Unexpected when that takes too long. */
export async function until (condition, what, milliseconds = PATIENCE) {
  const end = Date.now() + milliseconds
  while (!(await condition())) {
    if (Date.now() > end) throw new Unexpected(`${what}: not after ${milliseconds / 1000} s`)
    await sleep(30)
  }
}

/** Throws Unexpected when the promise takes too long. */
export function within (promise, what, milliseconds = PATIENCE) {
  let timer
  const late = new Promise((_resolve, reject) => {
    timer = setTimeout(() => reject(new Unexpected(`${what}: not after ${milliseconds / 1000} s`)), milliseconds)
  })
  return Promise.race([promise, late]).finally(() => clearTimeout(timer))
}

/** Throws Unexpected unless both are equal. */
export function expect (what, found, wanted) {
  if (!isDeepStrictEqual(found, wanted)) {
    throw new Unexpected(`${what}: ${shown(found)}, should be ${shown(wanted)}`)
  }
}

const shown = (value) => JSON.stringify(value, (_key, each) => (typeof each === 'bigint' ? Number(each) : each))

/** To throw where an error should have come, and none did. */
export const refused = (what) => new Unexpected(`${what} was not refused`)

const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`)

/** Run the steps `[name, function]` in their order, and tell each one's outcome. `errorName` gives Kafka's name of an error. */
export async function tell (library, version, steps, errorName) {
  say({ library, version })
  for (const [step, run] of steps) {
    const [outcome, detail] = await outcomeOf(run, errorName)
    say({ step, outcome, detail })
  }
}

async function outcomeOf (run, errorName) {
  try {
    return ['ok', (await within(run(), 'the step', 2 * PATIENCE)) ?? '']
  } catch (error) {
    if (error instanceof Unsupported) return ['unsupported', error.message]
    if (error instanceof Unexpected) return ['failed', error.message]
    const name = error.kafka ?? errorName(error)
    return [name ?? 'failed', `${error.name}: ${error.message}`]
  }
}
