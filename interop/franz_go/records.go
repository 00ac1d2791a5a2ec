package main

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
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

func value(number int) string { return fmt.Sprintf("v%d", number) }

func walkRecords(w *world, report reporter) {
	r := &records{world: w, begin: time.UnixMilli(time.Now().UnixMilli() - 1_000_000)}
	report.step("produce", r.produce)
	report.step("produce_compressed", r.compressed)
	report.step("idempotent_produce", r.idempotent)
	report.step("consume", func(ctx context.Context) (string, error) { return "", r.verify(ctx, r.topicName) })
	report.step("consume_from_timestamp", r.fromTimestamp)
}

func (r *records) record(topic string, number int) *kgo.Record {
	record := &kgo.Record{
		Topic:     topic,
		Partition: int32(number % recordPartitions),
		Timestamp: r.begin.Add(time.Duration(number) * time.Second),
		Value:     []byte(fmt.Sprintf("value-%d-%s", number, strings.Repeat("x", 10*number))),
		Headers:   []kgo.RecordHeader{{Key: "number", Value: fmt.Append(nil, number)}, {Key: "nothing"}},
	}
	if number%2 == 1 {
		record.Key = fmt.Appendf(nil, "key-%d", number)
	}
	if number == 7 {
		record.Value = nil
	}
	return record
}

func (r *records) send(ctx context.Context, topic string, options ...kgo.Opt) error {
	client := r.connect(options...)
	defer client.Close()
	var sent []*kgo.Record
	for number := range recordCount {
		sent = append(sent, r.record(topic, number))
	}
	for _, result := range client.ProduceSync(ctx, sent...) {
		if result.Err != nil {
			return result.Err
		}
	}
	for number, each := range sent {
		if err := equal(each.Offset, int64(number/recordPartitions), "an offset"); err != nil {
			return err
		}
	}
	return nil
}

func (r *records) verify(ctx context.Context, topic string) error {
	found, err := r.read(ctx, topic, recordPartitions, recordCount)
	if err != nil {
		return err
	}
	for _, each := range found {
		wanted := r.record(topic, int(each.Offset)*recordPartitions+int(each.Partition))
		same := bytes.Equal(each.Key, wanted.Key) && bytes.Equal(each.Value, wanted.Value) &&
			(each.Key == nil) == (wanted.Key == nil) && (each.Value == nil) == (wanted.Value == nil) &&
			each.Timestamp.Equal(wanted.Timestamp) && len(each.Headers) == 2 &&
			each.Headers[0].Key == "number" && bytes.Equal(each.Headers[0].Value, wanted.Headers[0].Value) &&
			each.Headers[1].Key == "nothing" && each.Headers[1].Value == nil
		if !same {
			return failed("a record is %+v instead of %+v", each, wanted)
		}
	}
	return nil
}

func (r *records) produce(ctx context.Context) (string, error) {
	topic, err := r.topic(ctx, "records", recordPartitions)
	if err != nil {
		return "", err
	}
	r.topicName = topic
	return "", r.send(ctx, topic, kgo.DisableIdempotentWrite(), kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.MaxProduceRequestsInflightPerBroker(1))
}

func (r *records) compressed(ctx context.Context) (string, error) {
	codecs := []struct {
		name  string
		codec kgo.CompressionCodec
	}{
		{"gzip", kgo.GzipCompression()},
		{"snappy", kgo.SnappyCompression()},
		{"lz4", kgo.Lz4Compression()},
		{"zstd", kgo.ZstdCompression()},
	}
	var names []string
	for _, each := range codecs {
		topic, err := r.topic(ctx, each.name, recordPartitions)
		if err != nil {
			return "", err
		}
		if err := r.send(ctx, topic, kgo.ProducerBatchCompression(each.codec), kgo.ProducerLinger(50*time.Millisecond)); err != nil {
			return "", fmt.Errorf("%s: %w", each.name, err)
		}
		if err := r.verify(ctx, topic); err != nil {
			return "", fmt.Errorf("%s: %w", each.name, err)
		}
		names = append(names, each.name)
	}
	return strings.Join(names, ", "), nil
}

func (r *records) idempotent(ctx context.Context) (string, error) {
	topic, err := r.topic(ctx, "idempotent", recordPartitions)
	if err != nil {
		return "", err
	}
	if err := r.send(ctx, topic, kgo.ProducerBatchMaxBytes(2048)); err != nil {
		return "", err
	}
	return "", r.verify(ctx, topic)
}

func (r *records) fromTimestamp(ctx context.Context) (string, error) {
	middle := r.begin.Add(30*time.Second - 500*time.Millisecond)
	listed, err := r.admin.ListOffsetsAfterMilli(ctx, middle.UnixMilli(), r.topicName)
	if err != nil {
		return "", err
	}
	found, _ := listed.Lookup(r.topicName, 0)
	if found.Err != nil {
		return "", found.Err
	}
	if err := equal(found.Offset, 10, "the offset"); err != nil {
		return "", err
	}
	if err := equal(found.Timestamp, r.begin.UnixMilli()+30_000, "the timestamp"); err != nil {
		return "", err
	}
	from := map[int32]kgo.Offset{0: kgo.NewOffset().AfterMilli(middle.UnixMilli())}
	client := r.connect(kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{r.topicName: from}))
	defer client.Close()
	records, err := poll(ctx, client, recordCount/recordPartitions-10, 0)
	if err != nil {
		return "", err
	}
	return "", equal(records[0].Offset, 10, "the first offset")
}
