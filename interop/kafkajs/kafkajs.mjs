// kafkajs, step by step.

import { readFileSync } from 'node:fs'
import kafkajs from 'kafkajs'
import Snappy from 'kafkajs-snappy'
import { bootstrap, named, PATIENCE, Refused, sleep, Unsupported, until } from './telling.mjs'
import { walk } from './walk.mjs'

const { AclOperationTypes, AclPermissionTypes, AclResourceTypes, AssignerProtocol } = kafkajs
const { CompressionCodecs, CompressionTypes, ConfigResourceTypes, Kafka, logLevel, ResourcePatternTypes } = kafkajs

CompressionCodecs[CompressionTypes.Snappy] = Snappy
const CODECS = { gzip: CompressionTypes.GZIP, snappy: CompressionTypes.Snappy }
const KNOWN_CONFIG = 1

const kafka = new Kafka({ brokers: bootstrap, logLevel: logLevel.NOTHING, requestTimeout: PATIENCE })
const admin = kafka.admin({ retry: { retries: 3 } })
let groups = 0

/** Kafka's name of an error of the library's. */
function errorName (error) {
  for (let each = error; each; each = each.cause) {
    if (typeof each.type === 'string' && each.code >= -1) return each.type
    if (each.errors?.length > 0) return errorName(each.errors[0])
    if (each.groups?.length > 0) return errorName(each.groups[0].error ?? each.groups[0])
  }
  return undefined
}

const toRow = (message) => ({
  key: message.key === null ? null : message.key.toString(),
  value: message.value === null ? null : message.value.toString(),
  timestamp: Number(message.timestamp),
  headers: Object.fromEntries(Object.entries(message.headers ?? {}).map(([name, value]) => [name, value.toString()])),
})

const toMessage = (row, partition) => ({ ...row, timestamp: String(row.timestamp), partition })

async function send ({ topic, rows, partitions, codec, idempotent }) {
  const producer = kafka.producer({ idempotent: idempotent ?? false })
  await producer.connect()
  try {
    const messages = rows.map((row, index) => toMessage(row, index % partitions))
    const results = await producer.send({ topic, messages, acks: -1, compression: CODECS[codec] })
    return Object.fromEntries(results.map((each) => [each.partition, Number(each.baseOffset)]))
  } finally {
    await producer.disconnect()
  }
}

/** The library consumes in groups alone: one of its own, sought to the positions. */
async function read (topic, positions, count, committed) {
  const found = []
  const consumer = kafka.consumer({
    groupId: named(`reader-${groups++}`), readUncommitted: !committed, maxWaitTimeInMs: 100, sessionTimeout: 6000,
  })
  await consumer.connect()
  try {
    await consumer.subscribe({ topic, fromBeginning: true })
    const joined = new Promise((resolve) => consumer.on(consumer.events.GROUP_JOIN, resolve))
    await consumer.run({
      autoCommit: false,
      eachMessage: async ({ partition, message }) => {
        if (partition in positions) found.push({ partition, offset: Number(message.offset), row: toRow(message) })
      },
    })
    await joined
    for (const [partition, offset] of Object.entries(positions)) {
      if (offset > 0) consumer.seek({ topic, partition: Number(partition), offset: String(offset) })
    }
    await until(() => found.length >= count, `${count} records of ${topic}`)
    await sleep(count === 0 ? 500 : 200)
  } finally {
    await consumer.disconnect()
  }
  return found.filter((each) => each.offset >= positions[each.partition])
}

/** A member of a group. What it reads and what is assigned to it is noted. */
class Member {
  values = []
  history = []
  rebalances = 0
  #consumer
  #topic

  static async join ({ group, topic, instance, cooperative, nextGen }) {
    if (instance !== undefined) throw new Unsupported('the library has no static members')
    if (cooperative) throw new Unsupported('the library has eager assignors only')
    if (nextGen) throw new Unsupported('the library speaks the classic group protocol only')
    const member = new Member()
    member.#topic = topic
    member.#consumer = kafka.consumer({
      groupId: group, sessionTimeout: 6000, heartbeatInterval: 500, maxWaitTimeInMs: 100, rebalanceTimeout: 6000,
    })
    const { GROUP_JOIN, REBALANCING } = member.#consumer.events
    member.#consumer.on(GROUP_JOIN, ({ payload }) => {
      member.rebalances += 1
      member.history.push(payload.memberAssignment[topic] ?? [])
    })
    member.#consumer.on(REBALANCING, () => member.history.push([]))
    await member.#consumer.connect()
    await member.#consumer.subscribe({ topic, fromBeginning: true })
    await member.#consumer.run({
      autoCommit: false,
      eachMessage: async ({ message }) => { member.values.push(Number(message.value.toString())) },
    })
    return member
  }

  partitions () {
    return this.history.at(-1) ?? []
  }

  commit (offset) {
    return this.#consumer.commitOffsets([{ topic: this.#topic, partition: 0, offset: String(offset) }])
  }

  close () {
    return this.#consumer.disconnect()
  }
}

class Transactional {
  #producer
  #transaction

  static async start (transactionalId) {
    const transactional = new Transactional()
    transactional.#producer = kafka.producer({
      transactionalId, idempotent: true, maxInFlightRequests: 1, retry: { retries: 3 },
    })
    await transactional.#producer.connect()
    return transactional
  }

  async begin () {
    this.#transaction = await this.#producer.transaction()
  }

  send (topic, rows) {
    return this.#transaction.send({ topic, messages: rows.map((row) => toMessage(row, 0)) })
  }

  sendOffset (_reader, { group, topic }, offset) {
    const topics = [{ topic, partitions: [{ partition: 0, offset: String(offset) }] }]
    return this.#transaction.sendOffsets({ consumerGroupId: group, topics })
  }

  commit () {
    return this.#transaction.commit()
  }

  abort () {
    return this.#transaction.abort()
  }

  close () {
    return this.#producer.disconnect()
  }
}

const metadata = async (topics) => (await admin.fetchTopicMetadata({ topics })).topics

async function assigned (group) {
  const found = await admin.describeGroups([group])
  const [{ state, members }] = found.groups
  const partitions = members.flatMap((member) =>
    Object.values(AssignerProtocol.MemberAssignment.decode(member.memberAssignment).assignment).flat())
  return { state, members: members.length, partitions: partitions.sort() }
}

const INCREMENTAL = 'the library has AlterConfigs, not IncrementalAlterConfigs'

await walk({
  library: 'kafkajs',
  version: JSON.parse(readFileSync('node_modules/kafkajs/package.json', 'utf8')).version,
  codecs: Object.keys(CODECS),
  errorName,
  settling: 0,
  start: () => admin.connect(),
  stop: () => admin.disconnect(),
  send: (topic, rows, how) => send({ topic, rows, ...how }),
  read,
  join: (how) => Member.join(how),
  transactional: (id) => Transactional.start(id),
  async offsetForTime (topic, timestamp) {
    const found = await admin.fetchTopicOffsetsByTimestamp(topic, timestamp)
    return Number(found.find((each) => each.partition === 0).offset)
  },
  async offsets (topic, partition) {
    const found = (await admin.fetchTopicOffsets(topic)).find((each) => each.partition === partition)
    return [Number(found.low), Number(found.high)]
  },
  async committed (groupId, topic) {
    const [found] = await admin.fetchOffsets({ groupId, topics: [topic] })
    return Number(found.partitions.find((each) => each.partition === 0).offset)
  },
  topics: async (names) =>
    new Map((await metadata(names)).map((topic) => [topic.name, topic.partitions.map((each) => each.leader)])),
  topicNames: () => admin.listTopics(),
  async createTopic (topic, numPartitions, replication, config) {
    const configEntries = Object.entries(config).map(([name, value]) => ({ name, value }))
    const made = await admin.createTopics({
      topics: [{ topic, numPartitions, replicationFactor: replication, configEntries }],
    })
    // This is how the library tells that error, and no other.
    if (!made) throw new Refused('TOPIC_ALREADY_EXISTS', 'createTopics returned false')
  },
  deleteTopic: (topic) => admin.deleteTopics({ topics: [topic] }),
  describeTopic: async (topic) =>
    (await metadata([topic]))[0].partitions.map((each) => each.replicas.length),
  createPartitions: (topic, count) => admin.createPartitions({ topicPartitions: [{ topic, count }] }),
  async cluster () {
    const { brokers, controller } = await admin.describeCluster()
    return { brokers: brokers.map((each) => each.nodeId), controller }
  },
  async config (topic) {
    const { resources } = await admin.describeConfigs({
      includeSynonyms: false, resources: [{ type: ConfigResourceTypes.TOPIC, name: topic }],
    })
    return new Map(resources[0].configEntries.map((entry) => [
      entry.configName,
      { value: entry.configValue, isDefault: entry.configSource !== KNOWN_CONFIG },
    ]))
  },
  setConfig: async () => { throw new Unsupported(INCREMENTAL) },
  resetConfig: async () => { throw new Unsupported(INCREMENTAL) },
  deleteRecords: (topic, offset) =>
    admin.deleteTopicRecords({ topic, partitions: [{ partition: 0, offset: String(offset) }] }),
  groups: async () => (await admin.listGroups()).groups.map((each) => each.groupId),
  group: assigned,
  deleteGroup: (group) => admin.deleteGroups([group]),
  reassignments: async () => (await admin.listPartitionReassignments({})).topics.length,
  acls: async () => (await admin.describeAcls({
    resourceType: AclResourceTypes.ANY,
    resourcePatternType: ResourcePatternTypes.ANY,
    operation: AclOperationTypes.ANY,
    permissionType: AclPermissionTypes.ANY,
  })).resources.length,
})
process.exit(0)
