import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeSet;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.Config;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.CreateTopicsResult;
import org.apache.kafka.clients.admin.DescribeClusterResult;
import org.apache.kafka.clients.admin.ListOffsetsResult.ListOffsetsResultInfo;
import org.apache.kafka.clients.admin.LogDirDescription;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.QuorumInfo;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.Node;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.TopicPartitionInfo;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.config.ConfigResource;

/** What the admin client does with topics, their configuration and their offsets. */
final class Topics {
    private static final String WEEK = "604800000";

    private final World world;
    private final Admin admin;
    private final String topic;
    private Uuid id;

    Topics(World world) {
        this.world = world;
        this.admin = world.admin;
        this.topic = world.name("topic");
    }

    void walk(Steps steps) {
        steps.step("create_topic", this::create);
        steps.step("create_topic_exists", () -> create(new NewTopic(topic, 1, world.replicas)));
        steps.step("create_topic_bad_replication", () -> create(new NewTopic(world.name("many"), 1, (short) 10)));
        steps.step("create_topic_bad_name", () -> create(new NewTopic(world.name("a/b"), 1, world.replicas)));
        steps.step("create_topic_bad_config", () -> create(
                new NewTopic(world.name("bad"), 1, world.replicas).configs(Map.of("retention.ms", "abc"))));
        steps.step("create_partitions", this::createPartitions);
        steps.step("create_partitions_fewer", () -> {
            admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(2))).all().get();
            return null;
        });
        steps.step("describe_cluster", this::describeCluster);
        steps.step("describe_topics", this::describe);
        steps.step("describe_topic_unknown", () -> {
            admin.describeTopics(List.of(world.name("unknown"))).allTopicNames().get();
            return null;
        });
        steps.step("describe_configs", this::describeConfigs);
        steps.step("alter_configs", this::alterConfigs);
        steps.step("alter_configs_bad_value", () -> {
            alter("retention.ms", "abc", AlterConfigOp.OpType.SET);
            return null;
        });
        steps.step("list_offsets", this::listOffsets);
        steps.step("delete_records", this::deleteRecords);
        steps.step("delete_topic", this::delete);
        steps.step("delete_topic_unknown", () -> {
            admin.deleteTopics(List.of(world.name("unknown"))).all().get();
            return null;
        });
    }

    private String create(NewTopic wanted) throws Exception {
        admin.createTopics(List.of(wanted)).all().get();
        return null;
    }

    private String create() throws Exception {
        NewTopic wanted = new NewTopic(topic, Optional.of(3), Optional.empty()).configs(Map.of("max.message.bytes", "123456"));
        CreateTopicsResult result = admin.createTopics(List.of(wanted));
        result.all().get();
        id = result.topicId(topic).get();
        Steps.equal(result.numPartitions(topic).get(), 3, "the number of partitions");
        Config config = result.config(topic).get();
        Steps.equal(config.get("max.message.bytes").value(), "123456", "max.message.bytes");
        Steps.equal(config.get("retention.ms").value(), WEEK, "retention.ms");
        Steps.check(admin.listTopics().names().get().contains(topic), "it is not listed");
        return null;
    }

    private String createPartitions() throws Exception {
        admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(5))).all().get();
        World.until("five partitions", () -> description().partitions().size() == 5);
        return null;
    }

    private TopicDescription description() throws Exception {
        return admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic);
    }

    private String describeCluster() throws Exception {
        DescribeClusterResult cluster = admin.describeCluster();
        Collection<Node> nodes = cluster.nodes().get();
        Steps.check(!cluster.clusterId().get().isEmpty(), "the cluster has no id");
        Steps.check(nodes.contains(cluster.controller().get()), "the controller is none of the nodes");
        QuorumInfo quorum = admin.describeMetadataQuorum().quorumInfo().get();
        Steps.check(quorum.voters().stream().anyMatch(each -> each.replicaId() == quorum.leaderId()), "no voter leads");
        Set<String> features = new TreeSet<>(admin.describeFeatures().featureMetadata().get().finalizedFeatures().keySet());
        Steps.check(features.containsAll(Set.of("group.version", "transaction.version")), "the features are " + features);
        return nodes.size() + " brokers, " + quorum.voters().size() + " voters, features " + features;
    }

    private String describe() throws Exception {
        TopicDescription found = description();
        Steps.equal(found.topicId(), id, "the topic's id");
        Steps.check(!found.isInternal(), "it is internal");
        for (TopicPartitionInfo each : found.partitions()) {
            Steps.check(each.leader() != null && each.replicas().contains(each.leader()), "no leader");
            Steps.equal(Set.copyOf(each.isr()), Set.copyOf(each.replicas()), "the replicas in sync");
        }
        List<Integer> brokers = new ArrayList<>();
        admin.describeCluster().nodes().get().forEach(each -> brokers.add(each.id()));
        long wanted = found.partitions().stream().mapToInt(each -> each.replicas().size()).sum();
        // The brokers learn of partitions a moment after the controller has answered.
        World.until("every replica in a log directory", () -> replicas(brokers) == wanted);
        return "and describeLogDirs";
    }

    /** How many replicas of the topic there are in the log directories of all brokers. */
    private long replicas(List<Integer> brokers) throws Exception {
        long count = 0;
        for (Map<String, LogDirDescription> dirs : admin.describeLogDirs(brokers).allDescriptions().get().values()) {
            for (LogDirDescription dir : dirs.values()) {
                count += dir.replicaInfos().keySet().stream().filter(each -> each.topic().equals(topic)).count();
            }
        }
        return count;
    }

    private ConfigEntry entry(ConfigResource resource, String key) throws Exception {
        return admin.describeConfigs(List.of(resource)).all().get().get(resource).get(key);
    }

    private ConfigEntry entry(String key) throws Exception {
        return entry(new ConfigResource(ConfigResource.Type.TOPIC, topic), key);
    }

    private String describeConfigs() throws Exception {
        ConfigEntry own = entry("max.message.bytes");
        Steps.equal(own.value(), "123456", "max.message.bytes");
        Steps.equal(own.source(), ConfigEntry.ConfigSource.DYNAMIC_TOPIC_CONFIG, "its source");
        Steps.equal(own.isDefault(), false, "whether it is a default");
        ConfigEntry standard = entry("cleanup.policy");
        Steps.equal(standard.value(), "delete", "cleanup.policy");
        Steps.equal(standard.source(), ConfigEntry.ConfigSource.DEFAULT_CONFIG, "its source");
        Node node = admin.describeCluster().nodes().get().iterator().next();
        ConfigResource broker = new ConfigResource(ConfigResource.Type.BROKER, node.idString());
        Steps.check(entry(broker, "log.segment.bytes") != null, "the broker has no log.segment.bytes");
        return null;
    }

    private void alter(String key, String value, AlterConfigOp.OpType type) throws Exception {
        ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
        AlterConfigOp change = new AlterConfigOp(new ConfigEntry(key, value), type);
        admin.incrementalAlterConfigs(Map.of(resource, List.of(change))).all().get();
    }

    private String alterConfigs() throws Exception {
        alter("retention.ms", "7654321", AlterConfigOp.OpType.SET);
        World.until("the new value", () -> entry("retention.ms").value().equals("7654321"));
        alter("retention.ms", null, AlterConfigOp.OpType.DELETE);
        World.until("the default", () -> entry("retention.ms").value().equals(WEEK));
        alter("cleanup.policy", "compact", AlterConfigOp.OpType.APPEND);
        World.until("two policies", () -> entry("cleanup.policy").value().equals("delete,compact"));
        alter("cleanup.policy", "compact", AlterConfigOp.OpType.SUBTRACT);
        World.until("one policy", () -> entry("cleanup.policy").value().equals("delete"));
        return "set, delete, append, subtract";
    }

    private ListOffsetsResultInfo offset(int partition, OffsetSpec spec) throws Exception {
        TopicPartition asked = new TopicPartition(topic, partition);
        return admin.listOffsets(Map.of(asked, spec)).partitionResult(asked).get();
    }

    private String listOffsets() throws Exception {
        world.fill(topic, 2, 0, 40);
        Steps.equal(offset(0, OffsetSpec.earliest()).offset(), 0L, "the earliest");
        Steps.equal(offset(0, OffsetSpec.latest()).offset(), 20L, "the latest");
        Steps.equal(offset(4, OffsetSpec.latest()).offset(), 0L, "the latest of an empty partition");
        ListOffsetsResultInfo newest = offset(1, OffsetSpec.maxTimestamp());
        Steps.check(newest.offset() >= 0 && newest.offset() < 20, "the newest is " + newest.offset());
        Steps.equal(offset(1, OffsetSpec.forTimestamp(newest.timestamp() + 1)).offset(), -1L, "a time past the newest");
        Steps.equal(offset(0, OffsetSpec.earliestLocal()).offset(), 0L, "the earliest that is local");
        Steps.equal(offset(0, OffsetSpec.latestTiered()).offset(), -1L, "the latest that is tiered");
        return "earliest, latest, max timestamp, timestamp, earliest local, latest tiered";
    }

    private String deleteRecords() throws Exception {
        TopicPartition partition = new TopicPartition(topic, 0);
        long low = admin.deleteRecords(Map.of(partition, RecordsToDelete.beforeOffset(7)))
                .lowWatermarks().get(partition).get().lowWatermark();
        Steps.equal(low, 7L, "the low watermark");
        Steps.equal(offset(0, OffsetSpec.earliest()).offset(), 7L, "the earliest");
        try (KafkaConsumer<String, String> consumer = world.consumer(Map.of())) {
            consumer.assign(List.of(partition));
            consumer.seekToBeginning(List.of(partition));
            Steps.equal(World.poll(consumer, 13).get(0).offset(), 7L, "the first offset that is read");
        }
        return null;
    }

    private String delete() throws Exception {
        admin.deleteTopics(List.of(topic)).all().get();
        World.until("gone", () -> !admin.listTopics().names().get().contains(topic));
        return null;
    }
}
