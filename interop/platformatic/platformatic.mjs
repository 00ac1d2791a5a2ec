// @platformatic/kafka, step by step.

import { readFileSync } from 'node:fs'
import {
  AclOperations, AclPermissionTypes, Admin, ConfigResourceTypes, ConfigSources, Consumer, FetchIsolationLevels,
  IncrementalAlterConfigOperationTypes, ListOffsetTimestamps, Producer, ResourcePatternTypes, ResourceTypes,
} from '@platformatic/kafka'
import { bootstrap, named, sleep, Unsupported, until } from './telling.mjs'
import { walk } from './walk.mjs'

const CODECS = ['gzip', 'snappy', 'lz4', 'zstd']
const ALL = -1

const shared = { clientId: 'interop', bootstrapBrokers: bootstrap, retries: 3, timeout: 10_000 }
const admin = new Admin(shared)
let groups = 0

/** Kafka's name of an error of the library's: that of the first one inside that has one. */
function errorName (error) {
  if (typeof error?.apiId === 'string') return error.apiId
  // This is how it tells that error of Metadata's.
  if (error?.message?.startsWith('Unknown topic')) return 'UNKNOWN_TOPIC_OR_PARTITION'
  for (const inner of [...(error?.errors ?? []), error?.cause]) {
    const name = inner && errorName(inner)
    if (name) return name
  }
  return undefined
}

const text = (buffer) => (buffer === null || buffer === undefined ? null : buffer.toString())

const toRow = (message) => ({
  key: text(message.key),
  value: text(message.value),
  timestamp: Number(message.timestamp),
  headers: Object.fromEntries([...message.headers].map(([name, value]) => [text(name), text(value)])),
})

const toMessage = (topic, row, partition) => ({
  topic,
  partition,
  key: row.key === null ? undefined : Buffer.from(row.key),
  value: Buffer.from(row.value),
  timestamp: BigInt(row.timestamp),
  headers: new Map(Object.entries(row.headers).map(([name, value]) => [Buffer.from(name), Buffer.from(value)])),
})

async function send (topic, rows, { partitions, codec, idempotent }) {
  const producer = new Producer({ ...shared, acks: ALL, idempotent: idempotent ?? false, compression: codec ?? 'none' })
  try {
    const messages = rows.map((row, index) => toMessage(topic, row, index % partitions))
    const { offsets } = await producer.send({ messages })
    return Object.fromEntries(offsets.map((each) => [each.partition, Number(each.offset)]))
  } finally {
    await producer.close()
  }
}

const isolation = (committed) =>
  committed ? FetchIsolationLevels.READ_COMMITTED : FetchIsolationLevels.READ_UNCOMMITTED

/** The library consumes in groups alone: one of its own, which is given the offsets to start at. */
async function read (topic, positions, count, committed) {
  const consumer = new Consumer({ ...shared, groupId: named(`reader-${groups++}`), maxWaitTime: 100 })
  const found = []
  let failure
  try {
    const partitions = (await admin.metadata({ topics: [topic] })).topics.get(topic).partitionsCount
    const offsets = Array.from({ length: partitions }, (_, partition) =>
      ({ topic, partition, offset: BigInt(positions[partition] ?? 0) }))
    const isolationLevel = isolation(committed)
    const stream = await consumer.consume({ topics: [topic], mode: 'manual', offsets, autocommit: false, isolationLevel })
    stream.on('error', (error) => { failure ??= error })
    stream.on('data', (message) => {
      const { partition } = message
      if (partition in positions) found.push({ partition, offset: Number(message.offset), row: toRow(message) })
    })
    await until(() => failure !== undefined || found.length >= count, `${count} records of ${topic}`)
    if (failure !== undefined) throw failure
    await sleep(count === 0 ? 500 : 200)
  } finally {
    await consumer.close(true)
  }
  return found
}

/** How to be in a group, in the library's words. */
function groupOptions ({ instance, cooperative, nextGen }) {
  if (instance !== undefined) throw new Unsupported('a static member leaves the group whenever it is closed')
  if (nextGen) return { groupProtocol: 'consumer' }
  const timeouts = { sessionTimeout: 6000, rebalanceTimeout: 6000, heartbeatInterval: 500 }
  return cooperative ? { ...timeouts, protocols: [{ name: 'cooperative-sticky', version: 1 }] } : timeouts
}

/** A member of a group. What it reads and what is assigned to it is noted. */
class Member {
  values = []
  messages = []
  history = []
  rebalances = 0
  failure
  consumer
  #topic

  static async join (how) {
    const member = new Member()
    member.#topic = how.topic
    member.consumer = new Consumer({ ...shared, groupId: how.group, maxWaitTime: 100, ...groupOptions(how) })
    member.consumer.on('consumer:group:join', () => {
      member.rebalances += 1
      member.history.push((member.consumer.assignments ?? []).flatMap((each) => each.partitions))
    })
    const stream = await member.consumer.consume({
      topics: [how.topic], mode: 'committed', fallbackMode: 'earliest', autocommit: false,
    })
    stream.on('error', (error) => { member.failure ??= error })
    stream.on('data', (message) => {
      member.messages.push(message)
      member.values.push(Number(message.value.toString()))
    })
    return member
  }

  partitions () {
    if (this.failure !== undefined) throw this.failure
    return (this.consumer.assignments ?? []).flatMap((each) => each.partitions)
  }

  commit (offset) {
    const position = { topic: this.#topic, partition: 0, offset: BigInt(offset), leaderEpoch: -1 }
    return this.consumer.commit({ offsets: [position] })
  }

  close () {
    return this.consumer.close(true)
  }
}

class Transactional {
  #producer
  #transaction

  constructor (transactionalId) {
    this.#producer = new Producer({ ...shared, acks: ALL, idempotent: true, transactionalId })
  }

  async begin () {
    this.#transaction = await this.#producer.beginTransaction()
  }

  send (topic, rows) {
    return this.#transaction.send({ messages: rows.map((row) => toMessage(topic, row, 0)) })
  }

  async sendOffset (reader, _how, offset) {
    await this.#transaction.addConsumer(reader.consumer)
    await this.#transaction.addOffset(reader.messages[offset - 1])
  }

  commit () {
    return this.#transaction.commit()
  }

  abort () {
    return this.#transaction.abort()
  }

  async close () {
    if (this.#transaction !== undefined && !this.#transaction.completed) await this.#transaction.cancel()
    await this.#producer.close()
  }
}

const described = async (topic) => (await admin.metadata({ topics: [topic], forceUpdate: true })).topics.get(topic)

async function offsetAt (topic, partition, timestamp) {
  const [found] = await admin.listOffsets({ topics: [{ name: topic, partitions: [{ partitionIndex: partition, timestamp }] }] })
  return Number(found.partitions[0].offset)
}

async function alter (topic, name, configOperation, value) {
  const configs = [{ name, configOperation, value }]
  await admin.incrementalAlterConfigs({
    resources: [{ resourceType: ConfigResourceTypes.TOPIC, resourceName: topic, configs }],
  })
}

const { SET, DELETE } = IncrementalAlterConfigOperationTypes

await walk({
  library: '@platformatic/kafka',
  version: JSON.parse(readFileSync('node_modules/@platformatic/kafka/package.json', 'utf8')).version,
  codecs: CODECS,
  errorName,
  // A fetch that was under way when a partition went to another member is delivered nevertheless.
  settling: 500,
  start: async () => {},
  stop: () => admin.close(),
  send,
  read,
  join: (how) => Member.join(how),
  transactional: async (id) => new Transactional(id),
  offsetForTime: (topic, timestamp) => offsetAt(topic, 0, BigInt(timestamp)),
  offsets: async (topic, partition) => [
    await offsetAt(topic, partition, ListOffsetTimestamps.EARLIEST),
    await offsetAt(topic, partition, ListOffsetTimestamps.LATEST),
  ],
  async committed (group, topic) {
    const [found] = await admin.listConsumerGroupOffsets({ groups: [{ groupId: group, topics: [{ name: topic, partitionIndexes: [0] }] }] })
    return Number(found.topics[0].partitions[0].committedOffset)
  },
  async topics (names) {
    const { topics } = await admin.metadata({ topics: names, forceUpdate: true })
    return new Map([...topics].map(([name, topic]) => [name, topic.partitions.map((each) => each.leader)]))
  },
  topicNames: () => admin.listTopics(),
  async createTopic (topic, partitions, replicas, config) {
    const configs = Object.entries(config).map(([name, value]) => ({ name, value }))
    await admin.createTopics({ topics: [topic], partitions, replicas, configs })
  },
  deleteTopic: (topic) => admin.deleteTopics({ topics: [topic] }),
  describeTopic: async (topic) => (await described(topic)).partitions.map((each) => each.replicas.length),
  createPartitions: (topic, count) => admin.createPartitions({ topics: [{ name: topic, count, assignments: null }] }),
  async cluster () {
    const { brokers, controllerId } = await admin.metadata({ topics: [], forceUpdate: true })
    return { brokers: [...brokers.keys()], controller: controllerId }
  },
  async config (topic) {
    const resources = [{ resourceType: ConfigResourceTypes.TOPIC, resourceName: topic }]
    const [{ configs }] = await admin.describeConfigs({ resources })
    return new Map(configs.map((entry) => [
      entry.name,
      { value: entry.value, isDefault: entry.configSource !== ConfigSources.DYNAMIC_TOPIC_CONFIG },
    ]))
  },
  setConfig: (topic, key, value) => alter(topic, key, SET, value),
  resetConfig: (topic, key) => alter(topic, key, DELETE, null),
  deleteRecords: (topic, offset) =>
    admin.deleteRecords({ topics: [{ name: topic, partitions: [{ partition: 0, offset: BigInt(offset) }] }] }),
  groups: async () => [...(await admin.listGroups()).keys()],
  async group (name) {
    const found = (await admin.describeGroups({ groups: [name] })).get(name)
    const members = [...found.members.values()]
    const partitions = members.flatMap((member) => [...member.assignments.values()].flatMap((each) => each.partitions))
    const state = found.state.charAt(0).toUpperCase() + found.state.slice(1).toLowerCase()
    return { state, members: members.length, partitions: partitions.sort() }
  },
  deleteGroup: (group) => admin.deleteGroups({ groups: [group] }),
  acls: async () => (await admin.describeAcls({
    filter: {
      resourceType: ResourceTypes.ANY,
      resourceName: null,
      resourcePatternType: ResourcePatternTypes.ANY,
      principal: null,
      host: null,
      operation: AclOperations.ANY,
      permissionType: AclPermissionTypes.ANY,
    },
  })).length,
  quotas: async () => (await admin.describeClientQuotas({ components: [], strict: false })).length,
})
process.exit(0)
