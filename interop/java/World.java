import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/** The cluster under test, and short ways to make clients of it. */
final class World implements AutoCloseable {
    static final int SECONDS = 25;
    static final Duration POLL = Duration.ofMillis(100);

    final String prefix;
    final short replicas;
    final Admin admin;
    final String bootstrap;
    private int topics;

    World(String bootstrap, String prefix, int replicas) {
        this.bootstrap = bootstrap;
        this.prefix = prefix;
        this.replicas = (short) replicas;
        this.admin = Admin.create(settings(Map.of("default.api.timeout.ms", 20_000, "request.timeout.ms", 10_000)));
    }

    Map<String, Object> settings(Map<String, ?> more) {
        Map<String, Object> all = new HashMap<>(more);
        all.put("bootstrap.servers", bootstrap);
        return all;
    }

    String name(String what) {
        return prefix + "-" + what;
    }

    /** Make a topic that no other step uses. */
    String topic(String what, int partitions) throws Exception {
        String name = name(what + "-" + ++topics);
        admin.createTopics(List.of(new NewTopic(name, partitions, replicas))).all().get();
        return name;
    }

    KafkaProducer<String, String> producer(Map<String, ?> more) {
        Map<String, Object> all = settings(more);
        all.putIfAbsent("max.block.ms", 20_000);
        all.putIfAbsent("delivery.timeout.ms", 20_000);
        all.putIfAbsent("request.timeout.ms", 10_000);
        return new KafkaProducer<>(all, new StringSerializer(), new StringSerializer());
    }

    KafkaConsumer<String, String> consumer(Map<String, ?> more) {
        Map<String, Object> all = settings(more);
        all.putIfAbsent("auto.offset.reset", "earliest");
        all.putIfAbsent("enable.auto.commit", "false");
        all.putIfAbsent("default.api.timeout.ms", 20_000);
        return new KafkaConsumer<>(all, new StringDeserializer(), new StringDeserializer());
    }

    /** Values `what-first` to `what-(first+count-1)` by turns to the topic's first `partitions` partitions. */
    List<RecordMetadata> fill(String topic, int partitions, int first, int count) throws Exception {
        List<Future<RecordMetadata>> sent = new ArrayList<>();
        try (KafkaProducer<String, String> producer = producer(Map.of())) {
            for (int number = first; number < first + count; number++) {
                sent.add(producer.send(
                        new ProducerRecord<>(topic, number % partitions, "k" + number, "v" + number)));
            }
            producer.flush();
        }
        return all(sent);
    }

    static <T> List<T> all(Collection<Future<T>> futures) throws ExecutionException, InterruptedException {
        List<T> results = new ArrayList<>();
        for (Future<T> future : futures) {
            results.add(future.get());
        }
        return results;
    }

    /** All records of these partitions from the beginning, `count` of them and no more. */
    List<ConsumerRecord<String, String>> read(String topic, int partitions, int count, String isolation) {
        try (KafkaConsumer<String, String> consumer = consumer(Map.of("isolation.level", isolation))) {
            List<TopicPartition> assigned = partitions(topic, partitions);
            consumer.assign(assigned);
            consumer.seekToBeginning(assigned);
            List<ConsumerRecord<String, String>> found = poll(consumer, count);
            Steps.check(consumer.poll(Duration.ofMillis(300)).isEmpty(), "more than " + count + " records came");
            return found;
        }
    }

    static List<TopicPartition> partitions(String topic, int count) {
        List<TopicPartition> all = new ArrayList<>();
        for (int index = 0; index < count; index++) {
            all.add(new TopicPartition(topic, index));
        }
        return all;
    }

    static List<ConsumerRecord<String, String>> poll(KafkaConsumer<String, String> consumer, int count) {
        List<ConsumerRecord<String, String>> found = new ArrayList<>();
        long end = System.nanoTime() + SECONDS * 1_000_000_000L;
        while (found.size() < count) {
            Steps.check(System.nanoTime() < end, "only " + found.size() + " of " + count + " records came");
            consumer.poll(POLL).forEach(found::add);
        }
        return found;
    }

    /** Ask again until the answer is true. */
    static void until(String what, Callable<Boolean> condition) throws Exception {
        long end = System.nanoTime() + SECONDS * 1_000_000_000L;
        while (!condition.call()) {
            Steps.check(System.nanoTime() < end, what + ": not within " + SECONDS + " s");
            Thread.sleep(50);
        }
    }

    @Override
    public void close() {
        admin.close(Duration.ofSeconds(5));
    }
}
