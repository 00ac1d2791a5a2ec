import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Future;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndTimestamp;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.record.TimestampType;

/** Records without groups: producing, with codecs and sequences, and reading back. */
final class Records {
    private static final int PARTITIONS = 3;
    private static final int COUNT = 90;
    private static final List<String> CODECS = List.of("gzip", "snappy", "lz4", "zstd");

    private final World world;
    private final long begin = System.currentTimeMillis() - 1_000_000;
    private String topic;

    Records(World world) {
        this.world = world;
    }

    void walk(Steps steps) {
        steps.step("produce", this::produce);
        steps.step("produce_compressed", this::compressed);
        steps.step("idempotent_produce", this::idempotent);
        steps.step("consume", this::consume);
        steps.step("consume_from_timestamp", this::fromTimestamp);
    }

    private ProducerRecord<String, String> record(String into, int number) {
        String key = number % 2 == 0 ? null : "key-" + number;
        String value = number == 7 ? null : "value-" + number + "-" + "x".repeat(number * 10);
        ProducerRecord<String, String> record =
                new ProducerRecord<>(into, number % PARTITIONS, begin + number * 1000L, key, value);
        record.headers().add(new RecordHeader("number", Integer.toString(number).getBytes(StandardCharsets.UTF_8)));
        record.headers().add(new RecordHeader("nothing", null));
        return record;
    }

    private void send(String into, Map<String, ?> settings) throws Exception {
        List<Future<RecordMetadata>> sent = new ArrayList<>();
        try (KafkaProducer<String, String> producer = world.producer(settings)) {
            for (int number = 0; number < COUNT; number++) {
                sent.add(producer.send(record(into, number)));
            }
        }
        List<RecordMetadata> results = World.all(sent);
        for (int number = 0; number < COUNT; number++) {
            Steps.equal(results.get(number).offset(), (long) number / PARTITIONS, "an offset");
        }
    }

    private void verify(String from) {
        for (ConsumerRecord<String, String> found : world.read(from, PARTITIONS, COUNT, "read_uncommitted")) {
            int number = (int) found.offset() * PARTITIONS + found.partition();
            ProducerRecord<String, String> wanted = record(from, number);
            Steps.check(java.util.Objects.equals(found.key(), wanted.key()), "a key is " + found.key());
            Steps.check(java.util.Objects.equals(found.value(), wanted.value()), "a value is " + found.value());
            Steps.equal(found.timestamp(), wanted.timestamp(), "a timestamp");
            Steps.equal(found.timestampType(), TimestampType.CREATE_TIME, "a timestamp's type");
            Steps.equal(found.headers(), wanted.headers(), "the headers");
        }
    }

    private String produce() throws Exception {
        topic = world.topic("records", PARTITIONS);
        send(topic, Map.of("acks", "all", "enable.idempotence", "false"));
        return null;
    }

    private String compressed() throws Exception {
        for (String codec : CODECS) {
            String into = world.topic(codec, PARTITIONS);
            send(into, Map.of("compression.type", codec, "linger.ms", 50));
            verify(into);
        }
        return String.join(", ", CODECS);
    }

    private String idempotent() throws Exception {
        String into = world.topic("idempotent", PARTITIONS);
        send(into, Map.of("enable.idempotence", "true", "batch.size", 1000));
        verify(into);
        return null;
    }

    private String consume() {
        verify(topic);
        return null;
    }

    private String fromTimestamp() {
        TopicPartition partition = new TopicPartition(topic, 0);
        long middle = begin + 30 * 1000L - 500;
        try (KafkaConsumer<String, String> consumer = world.consumer(Map.of())) {
            OffsetAndTimestamp found = consumer.offsetsForTimes(Map.of(partition, middle)).get(partition);
            Steps.equal(found.offset(), 10L, "the offset");
            Steps.equal(found.timestamp(), begin + 30_000L, "the timestamp");
            long after = begin + COUNT * 1000L;
            Steps.check(consumer.offsetsForTimes(Map.of(partition, after)).get(partition) == null, "a time past the end");
            consumer.assign(List.of(partition));
            consumer.seek(partition, found.offset());
            List<ConsumerRecord<String, String>> records = World.poll(consumer, COUNT / PARTITIONS - 10);
            Steps.equal(records.get(0).offset(), 10L, "the first offset");
            Steps.equal(records.get(records.size() - 1).offset(), 29L, "the last offset");
        }
        return null;
    }
}
