package main

import (
	"context"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const week = "604800000"

// topics are what kadm does with topics, their configuration and their offsets.
type topics struct {
	*world
	own string
	id  kadm.TopicID
}

func walkTopics(w *world, report reporter) {
	t := &topics{world: w, own: w.name("topic")}
	report.step("create_topic", t.create)
	report.step("create_topic_exists", t.createOther(t.own, w.replication, nil))
	report.step("create_topic_bad_replication", t.createOther(w.name("many"), 10, nil))
	report.step("create_topic_bad_name", t.createOther(w.name("a/b"), w.replication, nil))
	report.step("create_topic_bad_config", t.createOther(
		w.name("bad"), w.replication, map[string]*string{"retention.ms": kadm.StringPtr("abc")}))
	report.step("create_partitions", t.createPartitions)
	report.step("create_partitions_fewer", func(ctx context.Context) (string, error) { return "", t.setPartitions(ctx, 2) })
	report.step("describe_cluster", t.describeCluster)
	report.step("describe_topics", t.describe)
	report.step("describe_topic_unknown", func(ctx context.Context) (string, error) {
		found, err := w.admin.ListTopics(ctx, w.name("unknown"))
		if err != nil {
			return "", err
		}
		return "", found.Error()
	})
	report.step("describe_configs", t.describeConfigs)
	report.step("alter_configs", t.alterConfigs)
	report.step("alter_configs_bad_value", func(ctx context.Context) (string, error) {
		return "", t.alter(ctx, kadm.SetConfig, "retention.ms", "abc")
	})
	report.step("list_offsets", t.listOffsets)
	report.step("delete_records", t.deleteRecords)
	report.step("delete_topic", t.delete)
	report.step("delete_topic_unknown", func(ctx context.Context) (string, error) {
		_, err := w.admin.DeleteTopic(ctx, w.name("unknown"))
		return "", err
	})
}

func (t *topics) createOther(name string, replication int, configs map[string]*string) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		_, err := t.admin.CreateTopic(ctx, 1, int16(replication), configs, name)
		return "", err
	}
}

func (t *topics) create(ctx context.Context) (string, error) {
	configs := map[string]*string{"max.message.bytes": kadm.StringPtr("123456")}
	made, err := t.admin.CreateTopic(ctx, 3, -1, configs, t.own)
	if err != nil {
		return "", err
	}
	t.id = made.ID
	own, standard := made.Configs["max.message.bytes"], made.Configs["retention.ms"]
	if err := equal(own.MaybeValue(), "123456", "max.message.bytes"); err != nil {
		return "", err
	}
	if err := equal(standard.MaybeValue(), week, "retention.ms"); err != nil {
		return "", err
	}
	return "", equal(made.NumPartitions, 3, "the number of partitions")
}

func (t *topics) setPartitions(ctx context.Context, count int) error {
	done, err := t.admin.UpdatePartitions(ctx, count, t.own)
	if err != nil {
		return err
	}
	return done[t.own].Err
}

func (t *topics) description(ctx context.Context) (kadm.TopicDetail, error) {
	found, err := t.admin.ListTopics(ctx, t.own)
	if err != nil {
		return kadm.TopicDetail{}, err
	}
	return found[t.own], found.Error()
}

func (t *topics) createPartitions(ctx context.Context) (string, error) {
	if err := t.setPartitions(ctx, 5); err != nil {
		return "", err
	}
	return "", until(ctx, "five partitions", func() (bool, error) {
		found, err := t.description(ctx)
		return len(found.Partitions) == 5, err
	})
}

func (t *topics) describeCluster(ctx context.Context) (string, error) {
	found, err := kmsg.NewPtrDescribeClusterRequest().RequestWith(ctx, t.client)
	if err != nil {
		return "", err
	}
	controls := func(each kmsg.DescribeClusterResponseBroker) bool { return each.NodeID == found.ControllerID }
	if found.ClusterID == "" || !slices.ContainsFunc(found.Brokers, controls) {
		return "", failed("the cluster is %+v", found)
	}
	return fmt.Sprintf("%d brokers", len(found.Brokers)), nil
}

func (t *topics) describe(ctx context.Context) (string, error) {
	found, err := t.description(ctx)
	if err != nil {
		return "", err
	}
	if err := equal(found.ID, t.id, "the topic's id"); err != nil {
		return "", err
	}
	wanted := 0
	for _, each := range found.Partitions {
		if !slices.Contains(each.Replicas, each.Leader) || len(each.ISR) != len(each.Replicas) {
			return "", failed("a partition is %+v", each)
		}
		wanted += len(each.Replicas)
	}
	// The brokers learn of partitions a moment after the controller has answered.
	return "and DescribeLogDirs", until(ctx, "every replica in a log directory", func() (bool, error) {
		dirs, err := t.admin.DescribeAllLogDirs(ctx, kadm.TopicsSet{t.own: {0: {}, 1: {}, 2: {}, 3: {}, 4: {}}})
		replicas := 0
		for _, dir := range dirs.Sorted() {
			replicas += len(dir.Topics[t.own])
		}
		return replicas == wanted, err
	})
}

func (t *topics) config(ctx context.Context, key string) (kadm.Config, error) {
	all, err := t.admin.DescribeTopicConfigs(ctx, t.own)
	if err != nil {
		return kadm.Config{}, err
	}
	found, err := all.On(t.own, nil)
	if err != nil || found.Err != nil {
		return kadm.Config{}, firstOf(err, found.Err)
	}
	at := slices.IndexFunc(found.Configs, func(each kadm.Config) bool { return each.Key == key })
	if at < 0 {
		return kadm.Config{}, failed("there is no %s", key)
	}
	return found.Configs[at], nil
}

func firstOf(errors ...error) error {
	for _, each := range errors {
		if each != nil {
			return each
		}
	}
	return nil
}

func (t *topics) describeConfigs(ctx context.Context) (string, error) {
	own, err := t.config(ctx, "max.message.bytes")
	if err != nil {
		return "", err
	}
	standard, err := t.config(ctx, "cleanup.policy")
	if err != nil {
		return "", err
	}
	return "", firstOf(
		equal(own.MaybeValue(), "123456", "max.message.bytes"),
		equal(own.Source, kmsg.ConfigSourceDynamicTopicConfig, "its source"),
		equal(standard.MaybeValue(), "delete", "cleanup.policy"),
		equal(standard.Source, kmsg.ConfigSourceDefaultConfig, "its source"),
	)
}

func (t *topics) alter(ctx context.Context, how kadm.IncrementalOp, key, value string) error {
	change := kadm.AlterConfig{Op: how, Name: key, Value: kadm.StringPtr(value)}
	done, err := t.admin.AlterTopicConfigs(ctx, []kadm.AlterConfig{change}, t.own)
	if err != nil {
		return err
	}
	return done[0].Err
}

func (t *topics) becomes(ctx context.Context, key, value string) error {
	return until(ctx, key+"="+value, func() (bool, error) {
		found, err := t.config(ctx, key)
		return found.MaybeValue() == value, err
	})
}

func (t *topics) alterConfigs(ctx context.Context) (string, error) {
	changes := []struct {
		how                 kadm.IncrementalOp
		key, value, becomes string
	}{
		{kadm.SetConfig, "retention.ms", "7654321", "7654321"},
		{kadm.DeleteConfig, "retention.ms", "", week},
		{kadm.AppendConfig, "cleanup.policy", "compact", "delete,compact"},
		{kadm.SubtractConfig, "cleanup.policy", "compact", "delete"},
	}
	for _, each := range changes {
		if err := t.alter(ctx, each.how, each.key, each.value); err != nil {
			return "", err
		}
		if err := t.becomes(ctx, each.key, each.becomes); err != nil {
			return "", err
		}
	}
	return "set, delete, append, subtract", nil
}

func (t *topics) listOffsets(ctx context.Context) (string, error) {
	if err := t.fill(ctx, t.own, 2, 0, 40); err != nil {
		return "", err
	}
	start, err := t.admin.ListStartOffsets(ctx, t.own)
	if err != nil {
		return "", err
	}
	end, err := t.admin.ListEndOffsets(ctx, t.own)
	if err != nil {
		return "", err
	}
	newest, err := t.admin.ListMaxTimestampOffsets(ctx, t.own)
	if err != nil {
		return "", err
	}
	if most := newest[t.own][1]; most.Err != nil || most.Offset < 0 || most.Offset >= 20 {
		return "", firstOf(most.Err, failed("the newest is %d", most.Offset))
	}
	return "earliest, latest, max timestamp", firstOf(
		start.Error(), end.Error(),
		equal(start[t.own][0].Offset, 0, "the earliest"),
		equal(end[t.own][0].Offset, 20, "the latest"),
		equal(end[t.own][4].Offset, 0, "the latest of an empty partition"),
	)
}

func (t *topics) deleteRecords(ctx context.Context) (string, error) {
	offsets := kadm.Offsets{}
	offsets.Add(kadm.Offset{Topic: t.own, Partition: 0, At: 7})
	done, err := t.admin.DeleteRecords(ctx, offsets)
	if err != nil {
		return "", err
	}
	result := done[t.own][0]
	if err := firstOf(result.Err, equal(result.LowWatermark, 7, "the low watermark")); err != nil {
		return "", err
	}
	start, err := t.admin.ListStartOffsets(ctx, t.own)
	if err != nil {
		return "", err
	}
	if err := equal(start[t.own][0].Offset, 7, "the earliest"); err != nil {
		return "", err
	}
	from := map[string]map[int32]kgo.Offset{t.own: {0: kgo.NewOffset().AtStart()}}
	client := t.connect(kgo.ConsumePartitions(from))
	defer client.Close()
	found, err := poll(ctx, client, 13, 0)
	if err != nil {
		return "", err
	}
	return "", equal(found[0].Offset, 7, "the first offset that is read")
}

func (t *topics) delete(ctx context.Context) (string, error) {
	if _, err := t.admin.DeleteTopic(ctx, t.own); err != nil {
		return "", err
	}
	return "", until(ctx, "gone", func() (bool, error) {
		all, err := t.admin.ListTopics(ctx)
		return !all.Has(t.own), err
	})
}
