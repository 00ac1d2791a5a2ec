import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.time.Duration;
import org.apache.kafka.clients.admin.AbortTransactionSpec;
import org.apache.kafka.clients.admin.ListTransactionsOptions;
import org.apache.kafka.clients.admin.ProducerState;
import org.apache.kafka.clients.admin.TransactionDescription;
import org.apache.kafka.clients.admin.TransactionListing;
import org.apache.kafka.clients.admin.TransactionState;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;

/** Exactly once, and what admin tools see of it. */
final class Transactions {
    private static final int PARTITIONS = 3;
    private static final int COUNT = 300;

    private final World world;
    private final String copier;
    private String copied;

    Transactions(World world) {
        this.world = world;
        this.copier = world.name("copier");
    }

    void walk(Steps steps) {
        steps.step("transactions_copy", this::copy);
        steps.step("transaction_abort", this::abort);
        steps.step("read_committed", this::readCommitted);
        steps.step("fenced_producer", this::fenced);
        steps.step("list_transactions", this::list);
        steps.step("describe_transactions", this::describe);
        steps.step("describe_transaction_unknown", () -> {
            String unknown = world.name("unknown");
            world.admin.describeTransactions(List.of(unknown)).description(unknown).get();
            return null;
        });
    }

    private KafkaProducer<String, String> producer(String id) {
        KafkaProducer<String, String> producer =
                world.producer(Map.of("transactional.id", id, "transaction.timeout.ms", 15_000));
        producer.initTransactions();
        return producer;
    }

    private static void send(KafkaProducer<String, String> producer, String topic, int first, int count) {
        for (int number = first; number < first + count; number++) {
            producer.send(new ProducerRecord<>(topic, number % PARTITIONS, null, "v" + number));
        }
    }

    private String copy() throws Exception {
        String source = world.topic("source", PARTITIONS);
        copied = world.topic("copy", PARTITIONS);
        world.fill(source, PARTITIONS, 0, COUNT);
        int transactions = 0;
        try (KafkaProducer<String, String> producer = producer(copier);
                KafkaConsumer<String, String> consumer =
                        world.consumer(Map.of("group.id", world.name("copiers"), "max.poll.records", 50))) {
            consumer.subscribe(List.of(source));
            for (int done = 0; done < COUNT; ) {
                ConsumerRecords<String, String> records = consumer.poll(World.POLL);
                if (records.isEmpty()) {
                    continue;
                }
                producer.beginTransaction();
                Map<TopicPartition, OffsetAndMetadata> offsets = new HashMap<>();
                for (ConsumerRecord<String, String> each : records) {
                    producer.send(new ProducerRecord<>(copied, each.partition(), each.key(), "copy of " + each.value()));
                    offsets.put(new TopicPartition(source, each.partition()), new OffsetAndMetadata(each.offset() + 1));
                }
                producer.sendOffsetsToTransaction(offsets, consumer.groupMetadata());
                producer.commitTransaction();
                done += records.count();
                transactions++;
            }
            for (TopicPartition each : World.partitions(source, PARTITIONS)) {
                long committed = consumer.committed(Set.of(each)).get(each).offset();
                Steps.equal(committed, (long) COUNT / PARTITIONS, "a committed offset");
            }
        }
        Set<String> found = new HashSet<>();
        for (ConsumerRecord<String, String> each : world.read(copied, PARTITIONS, COUNT, "read_committed")) {
            found.add(each.value());
        }
        Steps.equal(found.size(), COUNT, "the number of different copies");
        return transactions + " transactions";
    }

    private String abort() throws Exception {
        String topic = world.topic("abort", PARTITIONS);
        try (KafkaProducer<String, String> producer = producer(world.name("aborter"))) {
            producer.beginTransaction();
            send(producer, topic, 0, 30);
            producer.flush();
            producer.abortTransaction();
            producer.beginTransaction();
            send(producer, topic, 30, 30);
            producer.commitTransaction();
        }
        for (ConsumerRecord<String, String> each : world.read(topic, PARTITIONS, 30, "read_committed")) {
            Steps.check(Integer.parseInt(each.value().substring(1)) >= 30, "an aborted record was read");
        }
        Steps.equal(world.read(topic, PARTITIONS, 60, "read_uncommitted").size(), 60, "all");
        return null;
    }

    private String readCommitted() throws Exception {
        String topic = world.topic("isolation", 1);
        TopicPartition partition = new TopicPartition(topic, 0);
        world.fill(topic, 1, 0, 5);
        try (KafkaProducer<String, String> producer = producer(world.name("slow"));
                KafkaConsumer<String, String> consumer = world.consumer(Map.of("isolation.level", "read_committed"))) {
            consumer.assign(List.of(partition));
            consumer.seekToBeginning(List.of(partition));
            producer.beginTransaction();
            producer.send(new ProducerRecord<>(topic, 0, null, "v5")).get();
            world.fill(topic, 1, 6, 5);
            Steps.equal(World.poll(consumer, 5).size(), 5, "what is before the transaction");
            Steps.check(consumer.poll(Duration.ofMillis(700)).isEmpty(), "something past an open transaction was read");
            Steps.equal(consumer.endOffsets(List.of(partition)).get(partition), 5L, "the last stable offset");
            producer.commitTransaction();
            List<String> values = new ArrayList<>();
            World.poll(consumer, 6).forEach(each -> values.add(each.value()));
            Steps.equal(values, List.of("v5", "v6", "v7", "v8", "v9", "v10"), "what came then");
        }
        return null;
    }

    private String fenced() throws Exception {
        String topic = world.topic("fenced", PARTITIONS);
        String id = world.name("twice");
        try (KafkaProducer<String, String> first = producer(id)) {
            first.beginTransaction();
            send(first, topic, 0, 3);
            first.commitTransaction();
            try (KafkaProducer<String, String> second = producer(id)) {
                second.beginTransaction();
                send(second, topic, 3, 3);
                second.commitTransaction();
                first.beginTransaction();
                send(first, topic, 6, 3);
                first.commitTransaction();
            }
        }
        return null;
    }

    private String list() throws Exception {
        TransactionListing found = null;
        for (TransactionListing each : world.admin.listTransactions().all().get()) {
            found = each.transactionalId().equals(copier) ? each : found;
        }
        Steps.check(found != null, copier + " is not listed");
        Steps.equal(found.state(), TransactionState.COMPLETE_COMMIT, "its state");
        ListTransactionsOptions open = new ListTransactionsOptions().filterStates(Set.of(TransactionState.ONGOING));
        for (TransactionListing each : world.admin.listTransactions(open).all().get()) {
            Steps.check(!each.transactionalId().equals(copier), "it is listed as ongoing");
        }
        return null;
    }

    private String describe() throws Exception {
        TransactionDescription found = world.admin.describeTransactions(List.of(copier)).description(copier).get();
        Steps.equal(found.state(), TransactionState.COMPLETE_COMMIT, "its state");
        Steps.equal(found.transactionTimeoutMs(), 15_000L, "its timeout");
        Steps.check(found.topicPartitions().isEmpty(), "partitions are left: " + found.topicPartitions());
        TopicPartition partition = new TopicPartition(copied, 0);
        List<ProducerState> producers =
                world.admin.describeProducers(List.of(partition)).partitionResult(partition).get().activeProducers();
        Steps.check(producers.stream().anyMatch(each -> each.producerId() == found.producerId()),
                "describeProducers does not name the copier");
        hanging();
        world.admin.fenceProducers(List.of(world.name("slow"))).all().get();
        return "and describeProducers, abortTransaction, fenceProducers";
    }

    /** What kafka-transactions does to a transaction that nobody ends. */
    private void hanging() throws Exception {
        String topic = world.topic("hanging", 1);
        TopicPartition partition = new TopicPartition(topic, 0);
        try (KafkaProducer<String, String> producer = producer(world.name("hanging"))) {
            producer.beginTransaction();
            producer.send(new ProducerRecord<>(topic, 0, null, "v")).get();
            ProducerState state = world.admin.describeProducers(List.of(partition))
                    .partitionResult(partition).get().activeProducers().get(0);
            Steps.equal(state.currentTransactionStartOffset().orElse(-1L), 0L, "where the transaction begins");
            AbortTransactionSpec spec = new AbortTransactionSpec(
                    partition, state.producerId(), (short) state.producerEpoch(),
                    state.coordinatorEpoch().orElse(0));
            world.admin.abortTransaction(spec).all().get();
            Steps.equal(world.read(topic, 1, 1, "read_uncommitted").size(), 1, "what is in it");
            Steps.equal(world.read(topic, 1, 0, "read_committed").size(), 0, "what is committed");
        }
    }
}
