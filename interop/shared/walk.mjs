// What every JavaScript client is asked to do, step by step. A client is an object with the calls below, each of which
// may throw Unsupported; a call that it does not have is one that its library lacks.

import { spawn } from 'node:child_process'
import {
  expect, memberOf, named, refused, replicationFactor, sleep, tell, Unexpected, Unsupported, until,
} from './telling.mjs'

const PARTITIONS = 3
const SHARED = 4
const COUNT = 30
const BATCH = 10
const WEEK = '604800000'
const NEVER = 'never-made'
const READY = 'polling'

const range = (start, end) => Array.from({ length: end - start }, (_, index) => start + index)
const sorted = (numbers) => [...numbers].sort((a, b) => a - b)

/** Records of every kind that all libraries can send, with timestamps of the last hour. */
const ROWS = range(0, 48).map((index) => ({
  key: [null, '', 'key', 'schlüssel'][index % 4],
  value: ['value', '', 'long'.repeat(5000)][Math.floor(index / 4) % 3],
  timestamp: (Math.floor(Date.now() / 1000) - 3600 + index) * 1000,
  headers: [{}, { a: '1' }, { a: '2', ü: 'ö' }][index % 3],
}))

/** Put `Unsupported` in the place of every call that a client lacks. */
const complete = (client) =>
  new Proxy(client, {
    get: (target, name) =>
      target[name] ?? (async () => { throw new Unsupported('the library has no such call') }),
  })

export async function walk (given) {
  const client = complete(given)
  if (memberOf !== undefined) return await pollUntilKilled(client)
  const steps = [...dataSteps(client), ...groupSteps(client), ...transactionSteps(client), ...adminSteps(client)]
  await client.start()
  await tell(given.library, given.version, steps, given.errorName)
  await client.stop()
}

async function makeTopic (client, of, partitions = 1) {
  const topic = named(of)
  await client.createTopic(topic, partitions, replicationFactor, {})
  await until(async () => {
    const leaders = (await client.topics([topic])).get(topic) ?? []
    return leaders.length === partitions && leaders.every((leader) => leader >= 0)
  }, `leaders of ${topic}`)
  return topic
}

const asRow = (number) => ({ key: null, value: String(number), timestamp: Date.now(), headers: {} })

const sendNumbers = (client, topic, numbers, partitions = 1) =>
  client.send(topic, numbers.map(asRow), { partitions })

async function readNumbers (client, topic, count, committed) {
  return (await readExactly(client, topic, { 0: 0 }, count, committed)).map((each) => Number(each.row.value))
}

async function readExactly (client, topic, positions, count, committed = false) {
  const found = await client.read(topic, positions, count, committed)
  if (found.length > count) throw new Unexpected(`more than ${count} records`)
  return found
}

const dataSteps = (client) => Object.entries({
  async produce () {
    const topic = await makeTopic(client, 'data', PARTITIONS)
    const ends = await client.send(topic, ROWS, { partitions: PARTITIONS })
    expect('base offsets', ends, { 0: 0, 1: 0, 2: 0 })
    for (const partition of range(0, PARTITIONS)) {
      expect('offsets', await client.offsets(topic, partition), [0, ROWS.length / PARTITIONS])
    }
  },
  async produce_compressed () {
    for (const codec of client.codecs) {
      const topic = await makeTopic(client, codec)
      await client.send(topic, ROWS, { partitions: 1, codec })
      const found = await readExactly(client, topic, { 0: 0 }, ROWS.length)
      expect(`records with ${codec}`, found.map((each) => each.row), ROWS)
    }
    return client.codecs.join(', ')
  },
  async idempotent_produce () {
    const topic = await makeTopic(client, 'idempotent')
    await client.send(topic, ROWS, { partitions: 1, idempotent: true })
    const found = await readExactly(client, topic, { 0: 0 }, ROWS.length)
    expect('offsets', found.map((each) => each.offset), range(0, ROWS.length))
    expect('records', found.map((each) => each.row), ROWS)
  },
  async consume () {
    const positions = { 0: 0, 1: 0, 2: 0 }
    const found = await readExactly(client, named('data'), positions, ROWS.length)
    for (const partition of range(0, PARTITIONS)) {
      const here = found.filter((each) => each.partition === partition)
      expect('offsets', here.map((each) => each.offset), range(0, here.length))
      expect('records', here.map((each) => each.row), ROWS.filter((_, index) => index % PARTITIONS === partition))
    }
  },
  async consume_from_timestamp () {
    const wanted = ROWS.filter((_, index) => index % PARTITIONS === 0)
    const middle = wanted.length / 2
    // Between two records: the later one is the first that is not older.
    const offset = await client.offsetForTime(named('data'), wanted[middle].timestamp - 1)
    expect('offset', offset, middle)
    const found = await readExactly(client, named('data'), { 0: offset }, wanted.length - middle)
    expect('records', found.map((each) => each.row), wanted.slice(middle))
  },
})

/** Do something with members that share four partitions evenly, and close all that are in the list afterwards. */
async function withGroup (client, memberships, run) {
  const members = []
  try {
    for (const membership of memberships) {
      members.push(await client.join(membership))
      const share = SHARED / members.length
      await until(() => members.every((member) => member.partitions().length === share), 'even shares')
    }
    const together = sorted(members.flatMap((member) => member.partitions()))
    expect('all partitions', together, range(0, SHARED))
    return await run(members)
  } finally {
    for (const member of members) await member.close()
  }
}

const membership = async (client, of, more = {}) =>
  ({ group: named(of), topic: await makeTopic(client, of, SHARED), ...more })

async function expectOnce (client, topic, members, numbers) {
  await sleep(client.settling)
  await sendNumbers(client, topic, numbers, SHARED)
  const seen = () => sorted(members.flatMap((member) => member.values).filter((value) => numbers.includes(value)))
  await until(() => seen().length >= numbers.length, 'records of the group')
  expect('records', seen(), numbers)
}

async function twoMembers (client, how) {
  await withGroup(client, [how, how], async (members) => {
    await expectOnce(client, how.topic, members, range(0, 40))
    for (const member of members) expect('records of a member', member.values.length, 20)
  })
}

const hasAll = (member) => () => member.partitions().length === SHARED

/** A member in a process of its own, to be killed. */
async function withOtherProcess (how, run) {
  const words = [...process.argv.slice(1), '--member', `${how.group} ${how.topic}`]
  const child = spawn(process.execPath, words, { stdio: ['ignore', 'pipe', 'inherit'] })
  const ready = new Promise((resolve, reject) => {
    child.stdout.on('data', (said) => said.includes(READY) && resolve())
    child.on('exit', () => reject(new Unexpected('the second member ended early')))
  })
  ready.catch(() => {})
  try {
    return await run(ready, child)
  } finally {
    child.kill('SIGKILL')
  }
}

async function pollUntilKilled (client) {
  const [group, topic] = memberOf.split(' ')
  await client.start()
  const member = await client.join({ group, topic })
  await until(() => member.partitions().length > 0, 'partitions')
  process.stdout.write(`${READY}\n`)
  for (;;) await sleep(1000)
}

const groupSteps = (client) => Object.entries({
  group_two_members: async () => twoMembers(client, await membership(client, 'group')),
  async rebalance_on_leave () {
    const how = await membership(client, 'leave')
    await withGroup(client, [how, how], async (members) => {
      await members.pop().close()
      await until(hasAll(members[0]), 'the partitions of the one that left')
      await expectOnce(client, how.topic, members, range(0, 8))
    })
  },
  async rebalance_on_close_without_leave () {
    const how = await membership(client, 'vanish')
    await withGroup(client, [how], (members) => withOtherProcess(how, async (ready, other) => {
      await until(() => members[0].partitions().length === SHARED / 2, 'a second member')
      await ready
      other.kill('SIGKILL')
      await until(hasAll(members[0]), 'the partitions of the dead one')
      await expectOnce(client, how.topic, members, range(0, 8))
    }))
  },
  async static_membership () {
    const how = await membership(client, 'static')
    await withGroup(client, [{ ...how, instance: 'a' }, { ...how, instance: 'b' }], async (members) => {
      const [first, second] = members
      const [had, rebalances] = [second.partitions(), first.rebalances]
      await second.close()
      members[1] = await client.join({ ...how, instance: 'b' })
      await until(() => members[1].partitions().length > 0, 'its return')
      expect('partitions after its return', members[1].partitions(), had)
      await expectOnce(client, how.topic, members, range(0, 8))
      expect('rebalances of the other', first.rebalances, rebalances)
    })
  },
  async cooperative_rebalance () {
    const how = await membership(client, 'cooperative', { cooperative: true })
    await withGroup(client, [how, how], async ([first, second]) => {
      const kept = first.history.every((has) => first.partitions().every((one) => has.includes(one)))
      expect('the first kept what it has now all along', kept, true)
      expect('the second has what the first gave up', second.partitions().length, SHARED / 2)
    })
  },
  next_gen_group: async () => twoMembers(client, await membership(client, 'next-gen', { nextGen: true })),
  async commit_and_resume () {
    const how = { group: named('resume'), topic: await makeTopic(client, 'resume') }
    await sendNumbers(client, how.topic, range(0, 20))
    for (const [start, commits] of [[0, 12], [12, 20]]) {
      const member = await client.join(how)
      try {
        await until(() => member.values.length > 0, 'the first record')
        expect('the first record', member.values[0], start)
        await member.commit(commits)
        expect('committed', await client.committed(how.group, how.topic), commits)
      } finally {
        await member.close()
      }
    }
  },
})

const transactionSteps = (client) => Object.entries({
  async transactions_copy () {
    const how = { group: named('copy'), topic: await makeTopic(client, 'source') }
    const target = await makeTopic(client, 'target')
    await sendNumbers(client, how.topic, range(0, COUNT))
    const producer = await client.transactional(named('copy'))
    const reader = await client.join(how)
    try {
      await until(() => reader.values.length >= COUNT, 'records to copy')
      expect('records read', reader.values, range(0, COUNT))
      for (const [start, good] of [[0, true], [BATCH, false], [BATCH, true], [2 * BATCH, true]]) {
        await producer.begin()
        await producer.send(target, reader.values.slice(start, start + BATCH).map((number) => asRow(2 * number)))
        await producer.sendOffset(reader, how, start + BATCH)
        await (good ? producer.commit() : producer.abort())
        // The answer to the end of a transaction does not wait for the markers.
        const reached = good ? start + BATCH : start
        await until(async () => await client.committed(how.group, how.topic) === reached, `the offset ${reached}`)
      }
    } finally {
      await reader.close()
      await producer.close()
    }
    const doubled = range(0, COUNT).map((number) => 2 * number)
    expect('copy', await readNumbers(client, target, COUNT, true), doubled)
  },
  async transaction_abort () {
    const topic = await makeTopic(client, 'abort')
    const producer = await client.transactional(named('abort'))
    for (const first of [0, 5]) {
      await producer.begin()
      await producer.send(topic, range(first, first + 5).map(asRow))
      await (first === 0 ? producer.abort() : producer.commit())
    }
    await producer.close()
    expect('read_committed', await readNumbers(client, topic, 5, true), range(5, 10))
    expect('read_uncommitted', await readNumbers(client, topic, 10, false), range(0, 10))
  },
  async read_committed () {
    const topic = await makeTopic(client, 'open')
    const producer = await client.transactional(named('open'))
    await producer.begin()
    await producer.send(topic, range(0, 3).map(asRow))
    await sendNumbers(client, topic, range(3, 5))
    expect('read while it is open', await readNumbers(client, topic, 0, true), [])
    await producer.commit()
    await producer.close()
    expect('read afterwards', await readNumbers(client, topic, 5, true), range(0, 5))
  },
  async fenced_producer () {
    const topic = await makeTopic(client, 'fenced')
    const first = await client.transactional(named('fenced'))
    const second = await client.transactional(named('fenced'))
    try {
      await first.begin()
      await first.send(topic, [asRow(1)])
      await second.begin()
      await first.commit()
    } finally {
      await second.close()
      await first.close()
    }
    throw refused("the first producer's commit")
  },
})

/** Do something with the name of a group that has a member. */
async function withOneMember (client, of, run) {
  const how = await membership(client, of)
  return await withGroup(client, [how], () => run(how.group))
}

const topicSteps = (client, topic) => ({
  async create_topic () {
    await client.createTopic(topic, 2, replicationFactor, { 'retention.ms': WEEK })
    await until(async () => (await client.topics([topic])).get(topic)?.length === 2, 'the topic')
  },
  async create_topic_exists () {
    await client.createTopic(topic, 2, replicationFactor, {})
    throw refused('a topic that is there')
  },
  async create_topic_bad_replication () {
    await client.createTopic(named('replicas'), 2, 10, {})
    throw refused('ten replicas')
  },
  async create_topic_bad_name () {
    await client.createTopic(named('a/b'), 2, replicationFactor, {})
    throw refused('a slash')
  },
  async create_topic_bad_config () {
    await client.createTopic(named('config'), 2, replicationFactor, { 'retention.ms': 'abc' })
    throw refused('letters for a number')
  },
  async create_partitions () {
    await client.createPartitions(topic, 4)
    await until(async () => (await client.topics([topic])).get(topic).length === 4, 'four partitions')
  },
  async create_partitions_fewer () {
    await client.createPartitions(topic, 1)
    throw refused('fewer partitions')
  },
  async describe_cluster () {
    const { brokers, controller } = await client.cluster()
    expect('the controller is a broker', brokers.includes(controller), true)
  },
  async describe_topics () {
    expect('replicas', await client.describeTopic(topic), range(0, 4).map(() => replicationFactor))
  },
  async describe_topic_unknown () {
    await client.describeTopic(named(NEVER))
    throw refused('an unknown topic')
  },
  async describe_configs () {
    const found = await client.config(topic)
    expect('retention.ms', found.get('retention.ms'), { value: WEEK, isDefault: false })
    expect('max.message.bytes', found.get('max.message.bytes'), { value: '1048588', isDefault: true })
  },
  async alter_configs () {
    const size = async () => (await client.config(topic)).get('max.message.bytes').value
    await client.setConfig(topic, 'max.message.bytes', '2000')
    await until(async () => (await size()) === '2000', 'the new value')
    expect('retention.ms', (await client.config(topic)).get('retention.ms'), { value: WEEK, isDefault: false })
    await client.resetConfig(topic, 'max.message.bytes')
    await until(async () => (await size()) === '1048588', 'the default')
  },
  async alter_configs_bad_value () {
    await client.setConfig(topic, 'retention.ms', 'abc')
    throw refused('letters for a number')
  },
  async list_offsets () {
    await sendNumbers(client, topic, range(0, 10))
    expect('offsets', await client.offsets(topic, 0), [0, 10])
  },
  async delete_records () {
    await client.deleteRecords(topic, 4)
    expect('offsets', await client.offsets(topic, 0), [4, 10])
  },
})

const groupAdminSteps = (client) => ({
  async list_groups () {
    const listed = await withOneMember(client, 'listed', async (group) => (await client.groups()).includes(group))
    expect('listed', listed, true)
  },
  async describe_group () {
    const found = await withOneMember(client, 'described', (group) => client.group(group))
    expect('group', found, { state: 'Stable', members: 1, partitions: range(0, SHARED) })
  },
  async describe_group_unknown () {
    expect('state', (await client.group(named(NEVER))).state, 'Dead')
    return 'state Dead'
  },
  async delete_group_nonempty () {
    await withOneMember(client, 'occupied', (group) => client.deleteGroup(group))
    throw refused('a group with a member')
  },
  async delete_group () {
    const group = await withOneMember(client, 'deleted', async (name) => name)
    await client.deleteGroup(group)
    expect('listed', (await client.groups()).includes(group), false)
  },
  async delete_group_unknown () {
    await client.deleteGroup(named(NEVER))
    throw refused('an unknown group')
  },
})

const otherAdminSteps = (client, topic) => ({
  async list_transactions () {
    expect('state', (await client.transactions()).get(named('copy')), 'CompleteCommit')
  },
  async describe_transactions () {
    expect('state', await client.transaction(named('copy')), 'CompleteCommit')
  },
  async describe_transaction_unknown () {
    await client.transaction(named(NEVER))
    throw refused('an unknown transactional id')
  },
  async elect_leaders () {
    await client.electLeader(topic)
    throw refused('an election that is not needed')
  },
  list_reassignments: async () => expect('reassignments', await client.reassignments(), 0),
  acls: async () => expect('ACLs', await client.acls(), 0),
  quotas: async () => expect('quotas', await client.quotas(), 0),
  async scram () {
    await client.scram(named('user'))
    throw refused('an unknown user')
  },
  async delete_topic () {
    await client.deleteTopic(topic)
    await until(async () => !(await client.topicNames()).includes(topic), 'its end')
  },
  async delete_topic_unknown () {
    await client.deleteTopic(named('nor-this'))
    throw refused('an unknown topic')
  },
})

const adminSteps = (client) => {
  const topic = named('admin')
  return Object.entries({
    ...topicSteps(client, topic), ...groupAdminSteps(client), ...otherAdminSteps(client, topic),
  })
}
