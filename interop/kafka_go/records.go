package main

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/segmentio/kafka-go"
)

const (
	recordPartitions = 3
	recordCount      = 90
)

// records are produced and read back without groups.
type records struct {
	*world
	topicName string
	begin     time.Time
}

func walkRecords(w *world, report reporter) {
	r := &records{world: w, begin: time.UnixMilli(time.Now().UnixMilli() - 1_000_000)}
	report.step("produce", r.produce)
	report.step("produce_compressed", r.compressed)
	report.step("idempotent_produce", func(context.Context) (string, error) {
		return "", unsupported("its writer has no producer ids and sequences")
	})
	report.step("consume", func(ctx context.Context) (string, error) { return "", r.verify(ctx, r.topicName) })
	report.step("consume_from_timestamp", r.fromTimestamp)
}

func (r *records) message(of int) kafka.Message {
	message := kafka.Message{
		Time:    r.begin.Add(time.Duration(of) * time.Second),
		Value:   []byte(fmt.Sprintf("value-%d-%s", of, strings.Repeat("x", 10*of))),
		Headers: append(number(of), kafka.Header{Key: "empty", Value: []byte{}}),
	}
	if of%2 == 1 {
		message.Key = fmt.Appendf(nil, "key-%d", of)
	}
	return message
}

func (r *records) send(ctx context.Context, topic string, codec kafka.Compression) error {
	writer := r.writer(topic)
	writer.Compression = codec
	defer writer.Close()
	var messages []kafka.Message
	for of := range recordCount {
		messages = append(messages, r.message(of))
	}
	return writer.WriteMessages(ctx, messages...)
}

func (r *records) verify(ctx context.Context, topic string) error {
	for partition := range recordPartitions {
		reader := r.reader(topic, partition)
		found, err := read(ctx, reader, recordCount/recordPartitions)
		_ = reader.Close()
		if err != nil {
			return err
		}
		for index, each := range found {
			wanted := r.message(index*recordPartitions + partition)
			same := each.Offset == int64(index) && bytes.Equal(each.Key, wanted.Key) && bytes.Equal(each.Value, wanted.Value) &&
				(each.Key == nil) == (wanted.Key == nil) && each.Time.Equal(wanted.Time) && len(each.Headers) == 2 &&
				bytes.Equal(each.Headers[0].Value, wanted.Headers[0].Value) && each.Headers[1].Key == "empty"
			if !same {
				return failed("a record is %+v instead of %+v", each, wanted)
			}
		}
	}
	return nil
}

func (r *records) produce(ctx context.Context) (string, error) {
	topic, err := r.topic(ctx, "records", recordPartitions)
	r.topicName = topic
	return "", firstOf(err, r.send(ctx, topic, 0))
}

func (r *records) compressed(ctx context.Context) (string, error) {
	var done []string
	for _, codec := range []kafka.Compression{kafka.Gzip, kafka.Snappy, kafka.Lz4, kafka.Zstd} {
		topic, err := r.topic(ctx, codec.String(), recordPartitions)
		if err != nil {
			return "", err
		}
		if err := r.send(ctx, topic, codec); err != nil {
			return "", fmt.Errorf("%v: %w", codec, err)
		}
		if err := r.verify(ctx, topic); err != nil {
			return "", fmt.Errorf("%v: %w", codec, err)
		}
		done = append(done, codec.String())
	}
	return strings.Join(done, ", "), nil
}

func (r *records) fromTimestamp(ctx context.Context) (string, error) {
	middle := r.begin.Add(30*time.Second - 500*time.Millisecond)
	listed, err := r.client.ListOffsets(ctx, &kafka.ListOffsetsRequest{
		Topics: map[string][]kafka.OffsetRequest{r.topicName: {kafka.TimeOffsetOf(0, middle)}},
	})
	if err != nil {
		return "", err
	}
	found := listed.Topics[r.topicName][0]
	if found.Error != nil {
		return "", found.Error
	}
	if _, has := found.Offsets[10]; !has {
		return "", failed("the offsets for the time are %v", found.Offsets)
	}
	reader := r.reader(r.topicName, 0)
	defer reader.Close()
	if err := reader.SetOffsetAt(ctx, middle); err != nil {
		return "", err
	}
	messages, err := read(ctx, reader, recordCount/recordPartitions-10)
	if err != nil {
		return "", err
	}
	return "", equal(messages[0].Offset, 10, "the first offset")
}
