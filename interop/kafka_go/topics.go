package main

import (
	"context"
	"fmt"

	"github.com/segmentio/kafka-go"
)

const week = "604800000"

// topics are what the library does with topics, their configuration and their offsets.
type topics struct {
	*world
	own string
}

func walkTopics(w *world, report reporter) {
	t := &topics{w, w.name("topic")}
	report.step("create_topic", t.create)
	report.step("create_topic_exists", t.createOther(t.own, w.replication))
	report.step("create_topic_bad_replication", t.createOther(w.name("many"), 10))
	report.step("create_topic_bad_name", t.createOther(w.name("a/b"), w.replication))
	report.step("create_topic_bad_config", t.createOther(
		w.name("bad"), w.replication, kafka.ConfigEntry{ConfigName: "retention.ms", ConfigValue: "abc"}))
	report.step("create_partitions", t.createPartitions)
	report.step("create_partitions_fewer", func(ctx context.Context) (string, error) { return "", t.setPartitions(ctx, 2) })
	report.step("describe_cluster", t.describeCluster)
	report.step("describe_topics", t.describe)
	report.step("describe_topic_unknown", func(ctx context.Context) (string, error) {
		_, err := w.metadata(ctx, w.name("unknown"))
		return "", err
	})
	report.step("describe_configs", t.describeConfigs)
	report.step("alter_configs", t.alterConfigs)
	report.step("alter_configs_bad_value", func(ctx context.Context) (string, error) {
		return "", t.alter(ctx, kafka.ConfigOperationSet, "retention.ms", "abc")
	})
	report.step("list_offsets", t.listOffsets)
	report.step("delete_records", func(context.Context) (string, error) {
		return "", unsupported("it has no such request")
	})
	report.step("delete_topic", t.delete)
	report.step("delete_topic_unknown", func(ctx context.Context) (string, error) {
		return "", t.deleteTopic(ctx, w.name("unknown"))
	})
}

func (t *topics) make(ctx context.Context, topic kafka.TopicConfig) error {
	made, err := t.client.CreateTopics(ctx, &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{topic}})
	return firstOf(err, errorOf(made, topic.Topic))
}

func (t *topics) createOther(name string, replication int, configs ...kafka.ConfigEntry) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		return "", t.make(ctx, kafka.TopicConfig{
			Topic: name, NumPartitions: 1, ReplicationFactor: replication, ConfigEntries: configs,
		})
	}
}

func (t *topics) create(ctx context.Context) (string, error) {
	configs := []kafka.ConfigEntry{{ConfigName: "max.message.bytes", ConfigValue: "123456"}}
	topic := kafka.TopicConfig{Topic: t.own, NumPartitions: 3, ReplicationFactor: -1, ConfigEntries: configs}
	if err := t.make(ctx, topic); err != nil {
		return "", err
	}
	return "", t.hasPartitions(ctx, 3)
}

func (t *topics) hasPartitions(ctx context.Context, count int) error {
	return until(ctx, fmt.Sprintf("%d partitions", count), func() (bool, error) {
		found, err := t.metadata(ctx, t.own)
		return err == nil && len(found.Partitions) == count, nil
	})
}

func (t *topics) setPartitions(ctx context.Context, count int32) error {
	done, err := t.client.CreatePartitions(ctx, &kafka.CreatePartitionsRequest{
		Topics: []kafka.TopicPartitionsConfig{{Name: t.own, Count: count}},
	})
	if err != nil {
		return err
	}
	return done.Errors[t.own]
}

func (t *topics) createPartitions(ctx context.Context) (string, error) {
	return "", firstOf(t.setPartitions(ctx, 5), t.hasPartitions(ctx, 5))
}

func (t *topics) describeCluster(ctx context.Context) (string, error) {
	found, err := t.client.Metadata(ctx, &kafka.MetadataRequest{})
	if err != nil {
		return "", err
	}
	for _, each := range found.Brokers {
		if each.ID == found.Controller.ID && found.ClusterID != "" {
			return fmt.Sprintf("%d brokers", len(found.Brokers)), nil
		}
	}
	return "", failed("the cluster is %+v", found)
}

func (t *topics) describe(ctx context.Context) (string, error) {
	found, err := t.metadata(ctx, t.own)
	if err != nil {
		return "", err
	}
	for _, each := range found.Partitions {
		if each.Error != nil || each.Leader.Host == "" || len(each.Isr) != len(each.Replicas) {
			return "", firstOf(each.Error, failed("a partition is %+v", each))
		}
	}
	return "", equal(len(found.Partitions), 5, "the number of partitions")
}

func (t *topics) config(ctx context.Context, key string) (kafka.DescribeConfigResponseConfigEntry, error) {
	var none kafka.DescribeConfigResponseConfigEntry
	asked := kafka.DescribeConfigRequestResource{ResourceType: kafka.ResourceTypeTopic, ResourceName: t.own}
	all, err := t.client.DescribeConfigs(ctx, &kafka.DescribeConfigsRequest{
		Resources: []kafka.DescribeConfigRequestResource{asked},
	})
	if err != nil {
		return none, err
	}
	for _, each := range all.Resources[0].ConfigEntries {
		if each.ConfigName == key {
			return each, nil
		}
	}
	return none, firstOf(all.Resources[0].Error, failed("there is no %s", key))
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
	const topicConfig, defaultConfig = 1, 5
	return "", firstOf(
		equal(own.ConfigValue, "123456", "max.message.bytes"),
		equal(own.ConfigSource, topicConfig, "its source"),
		equal(standard.ConfigValue, "delete", "cleanup.policy"),
		equal(standard.ConfigSource, defaultConfig, "its source"),
	)
}

func (t *topics) alter(ctx context.Context, how kafka.ConfigOperation, key, value string) error {
	done, err := t.client.IncrementalAlterConfigs(ctx, &kafka.IncrementalAlterConfigsRequest{
		Resources: []kafka.IncrementalAlterConfigsRequestResource{{
			ResourceType: kafka.ResourceTypeTopic, ResourceName: t.own,
			Configs: []kafka.IncrementalAlterConfigsRequestConfig{{Name: key, Value: value, ConfigOperation: how}},
		}},
	})
	if err != nil {
		return err
	}
	return done.Resources[0].Error
}

func (t *topics) alterConfigs(ctx context.Context) (string, error) {
	changes := []struct {
		how                 kafka.ConfigOperation
		key, value, becomes string
	}{
		{kafka.ConfigOperationSet, "retention.ms", "7654321", "7654321"},
		{kafka.ConfigOperationDelete, "retention.ms", "", week},
		{kafka.ConfigOperationAppend, "cleanup.policy", "compact", "delete,compact"},
		{kafka.ConfigOperationSubtract, "cleanup.policy", "compact", "delete"},
	}
	for _, each := range changes {
		if err := t.alter(ctx, each.how, each.key, each.value); err != nil {
			return "", err
		}
		err := until(ctx, each.key+"="+each.becomes, func() (bool, error) {
			found, err := t.config(ctx, each.key)
			return found.ConfigValue == each.becomes, err
		})
		if err != nil {
			return "", err
		}
	}
	return "set, delete, append, subtract", nil
}

func (t *topics) listOffsets(ctx context.Context) (string, error) {
	if err := t.fill(ctx, t.own, 0, 40); err != nil {
		return "", err
	}
	listed, err := t.client.ListOffsets(ctx, &kafka.ListOffsetsRequest{
		Topics: map[string][]kafka.OffsetRequest{t.own: {kafka.FirstOffsetOf(0), kafka.LastOffsetOf(0)}},
	})
	if err != nil {
		return "", err
	}
	found := listed.Topics[t.own][0]
	return "earliest, latest", firstOf(
		found.Error,
		equal(found.FirstOffset, 0, "the earliest"),
		equal(found.LastOffset, 8, "the latest"),
	)
}

func (t *topics) deleteTopic(ctx context.Context, name string) error {
	done, err := t.client.DeleteTopics(ctx, &kafka.DeleteTopicsRequest{Topics: []string{name}})
	if err != nil {
		return err
	}
	return done.Errors[name]
}

func (t *topics) delete(ctx context.Context) (string, error) {
	if err := t.deleteTopic(ctx, t.own); err != nil {
		return "", err
	}
	return "", until(ctx, "gone", func() (bool, error) {
		_, err := t.metadata(ctx, t.own)
		return err == kafka.UnknownTopicOrPartition, nil
	})
}
