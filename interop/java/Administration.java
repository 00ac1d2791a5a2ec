import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.ConsumerGroupDescription;
import org.apache.kafka.clients.admin.ConsumerGroupListing;
import org.apache.kafka.clients.admin.MemberDescription;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.ElectionType;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.acl.AclBindingFilter;
import org.apache.kafka.common.quota.ClientQuotaFilter;

/** What the admin client does with groups and with the cluster. */
final class Administration {
    private static final int PARTITIONS = 2;

    private final World world;
    private final Admin admin;
    private final String group;
    private String topic;

    Administration(World world) {
        this.world = world;
        this.admin = world.admin;
        this.group = world.name("described");
    }

    void walk(Steps steps) {
        try (Member member = join()) {
            steps.step("list_groups", this::list);
            steps.step("describe_group", () -> describe(member));
            steps.step("describe_group_unknown", this::describeUnknown);
            steps.step("delete_group_nonempty", () -> {
                admin.deleteConsumerGroups(List.of(group)).all().get();
                return null;
            });
        }
        steps.step("delete_group", this::delete);
        steps.step("delete_group_unknown", () -> {
            admin.deleteConsumerGroups(List.of(world.name("unknown"))).all().get();
            return null;
        });
        steps.step("elect_leaders", this::elect);
        steps.step("list_reassignments", this::reassignments);
        steps.step("acls", () -> admin.describeAcls(AclBindingFilter.ANY).values().get().size() + " ACLs");
        steps.step("quotas", () -> admin.describeClientQuotas(ClientQuotaFilter.all()).entities().get().size() + " quotas");
        steps.step("scram", () -> {
            String user = world.name("user");
            admin.describeUserScramCredentials(List.of(user)).description(user).get();
            return null;
        });
    }

    /** A member that has all partitions and stays, by its heartbeats, while the steps look at it. */
    private Member join() {
        try {
            topic = world.topic("described", PARTITIONS);
            world.fill(topic, PARTITIONS, 0, 10);
            Member member = new Member(world, group, topic, Map.of("client.id", "someone"));
            Member.until("all partitions", List.of(member), () -> member.assigned().size() == PARTITIONS);
            member.consumer.commitSync(Map.of(new TopicPartition(topic, 0), new OffsetAndMetadata(3)));
            return member;
        } catch (Exception error) {
            throw new IllegalStateException(error);
        }
    }

    private ConsumerGroupDescription description() throws Exception {
        return admin.describeConsumerGroups(List.of(group)).describedGroups().get(group).get();
    }

    private String list() throws Exception {
        ConsumerGroupListing found = null;
        for (ConsumerGroupListing each : admin.listConsumerGroups().all().get()) {
            found = each.groupId().equals(group) ? each : found;
        }
        Steps.check(found != null, "the group is not listed");
        Steps.equal(found.state().orElseThrow().toString(), "Stable", "its state");
        return null;
    }

    private String describe(Member member) throws Exception {
        ConsumerGroupDescription found = description();
        Steps.equal(found.state().toString(), "Stable", "the state");
        Steps.equal(found.partitionAssignor(), "range", "the assignor");
        Steps.equal(found.members().size(), 1, "the number of members");
        MemberDescription one = found.members().iterator().next();
        Steps.equal(one.clientId(), "someone", "the member's client id");
        Steps.equal(one.groupInstanceId(), Optional.empty(), "its instance id");
        Steps.equal(one.assignment().topicPartitions(), new HashSet<>(member.assigned()), "its partitions");
        Steps.check(one.host().startsWith("/127.0.0.1"), "its host is " + one.host());
        Map<TopicPartition, OffsetAndMetadata> offsets =
                admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get();
        Steps.equal(offsets.get(new TopicPartition(topic, 0)).offset(), 3L, "the committed offset");
        return null;
    }

    private String describeUnknown() throws Exception {
        String unknown = world.name("unknown");
        return "state " + admin.describeConsumerGroups(List.of(unknown)).describedGroups().get(unknown).get().state();
    }

    private String delete() throws Exception {
        TopicPartition first = new TopicPartition(topic, 0);
        TopicPartition second = new TopicPartition(topic, 1);
        admin.alterConsumerGroupOffsets(group, Map.of(second, new OffsetAndMetadata(2))).all().get();
        admin.deleteConsumerGroupOffsets(group, Set.of(first)).all().get();
        Set<TopicPartition> left = admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get().keySet();
        Steps.equal(left, Set.of(second), "what is committed");
        admin.deleteConsumerGroups(List.of(group)).all().get();
        World.until("gone", () -> admin.listConsumerGroups().all().get().stream()
                .noneMatch(each -> each.groupId().equals(group)));
        return "and alterConsumerGroupOffsets, deleteConsumerGroupOffsets";
    }

    private String elect() throws Exception {
        TopicPartition partition = new TopicPartition(topic, 0);
        Optional<Throwable> error =
                admin.electLeaders(ElectionType.PREFERRED, Set.of(partition)).partitions().get().get(partition);
        if (error.isPresent()) {
            throw (Exception) error.get();
        }
        return null;
    }

    private String reassignments() throws Exception {
        Steps.check(admin.listPartitionReassignments().reassignments().get().isEmpty(), "some are under way");
        return null;
    }
}
