import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.Callable;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;

/** One member of a consumer group, what it was given, and how often its partitions changed. */
final class Member implements ConsumerRebalanceListener, AutoCloseable {
    final KafkaConsumer<String, String> consumer;
    final List<String> values = new ArrayList<>();
    final List<TopicPartition> revoked = new ArrayList<>();
    int rebalances;
    int lost;

    Member(World world, String group, String topic, Map<String, ?> more) {
        Map<String, Object> all = new HashMap<>(more);
        all.put("group.id", group);
        if (!"consumer".equals(more.get("group.protocol"))) {
            all.putIfAbsent("session.timeout.ms", 6000);
            all.putIfAbsent("heartbeat.interval.ms", 500);
        }
        consumer = world.consumer(all);
        consumer.subscribe(List.of(topic), this);
    }

    Set<TopicPartition> assigned() {
        return consumer.assignment();
    }

    void poll() {
        for (ConsumerRecord<String, String> each : consumer.poll(Duration.ofMillis(50))) {
            values.add(each.value());
        }
    }

    /** Let these members do their work until the condition holds. */
    static void until(String what, Collection<Member> members, Callable<Boolean> condition) throws Exception {
        World.until(what, () -> {
            for (Member each : members) {
                each.poll();
            }
            return condition.call();
        });
    }

    @Override
    public void onPartitionsAssigned(Collection<TopicPartition> partitions) {
        rebalances++;
    }

    @Override
    public void onPartitionsRevoked(Collection<TopicPartition> partitions) {
        revoked.addAll(partitions);
    }

    @Override
    public void onPartitionsLost(Collection<TopicPartition> partitions) {
        lost++;
    }

    @Override
    public void close() {
        consumer.close(Duration.ofSeconds(5));
    }
}
