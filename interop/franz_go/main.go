// Command franz-go walks all steps of franz-go and kadm; see interop/README.md for what it prints.
package main

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// world is the cluster under test, and short ways to make clients of it.
type world struct {
	*target
	client *kgo.Client
	admin  *kadm.Client
}

func main() {
	w := &world{target: commandLine()}
	report := reporter{errorName}
	report.library("github.com/twmb/franz-go")
	w.client = w.connect()
	defer w.client.Close()
	w.admin = kadm.NewClient(w.client)
	walkRecords(w, report)
	walkGroups(w, report)
	walkTransactions(w, report)
	walkTopics(w, report)
	walkAdministration(w, report)
}

func errorName(err error) string {
	var code *kerr.Error
	if errors.As(err, &code) {
		return code.Message
	}
	// What the library says, with no type of its own, when ApiVersions lacks a request.
	if strings.Contains(err.Error(), "broker is too old") {
		return kerr.UnsupportedVersion.Message
	}
	return ""
}

func (w *world) connect(more ...kgo.Opt) *kgo.Client {
	options := append([]kgo.Opt{
		kgo.SeedBrokers(w.bootstrap...),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.RetryTimeout(20 * time.Second),
		kgo.MetadataMinAge(100 * time.Millisecond),
	}, more...)
	client, err := kgo.NewClient(options...)
	if err != nil {
		panic(err)
	}
	return client
}

// topic makes one that no other step uses, and waits until the brokers name its leaders.
func (w *world) topic(ctx context.Context, what string, partitions int32) (string, error) {
	name := w.unused(what)
	if _, err := w.admin.CreateTopic(ctx, partitions, int16(w.replication), nil, name); err != nil {
		return "", err
	}
	return name, until(ctx, "the topic's leaders", func() (bool, error) {
		found, err := w.admin.ListTopics(ctx, name)
		return err == nil && found.Error() == nil && len(found[name].Partitions) == int(partitions), nil
	})
}

// fill writes values v<first>, … by turns to the topic's partitions.
func (w *world) fill(ctx context.Context, topic string, partitions, first, count int) error {
	var records []*kgo.Record
	for number := first; number < first+count; number++ {
		records = append(records, &kgo.Record{
			Topic: topic, Partition: int32(number % partitions), Value: []byte(value(number)),
		})
	}
	return w.client.ProduceSync(ctx, records...).FirstErr()
}

// read gets all records of these partitions from the beginning, count of them and no more.
func (w *world) read(ctx context.Context, topic string, partitions, count int, more ...kgo.Opt) ([]*kgo.Record, error) {
	from := map[int32]kgo.Offset{}
	for index := range partitions {
		from[int32(index)] = kgo.NewOffset().AtStart()
	}
	client := w.connect(append(more, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: from}))...)
	defer client.Close()
	return poll(ctx, client, count, 300*time.Millisecond)
}

// poll gets that many records, and none more within the time after them.
func poll(ctx context.Context, client *kgo.Client, count int, after time.Duration) ([]*kgo.Record, error) {
	var found []*kgo.Record
	bounded, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for len(found) < count {
		fetches := client.PollFetches(bounded)
		if bounded.Err() != nil {
			return nil, failed("only %d of %d records came", len(found), count)
		}
		if err := fetches.Err(); err != nil {
			return nil, err
		}
		found = append(found, fetches.Records()...)
	}
	brief, done := context.WithTimeout(ctx, after)
	defer done()
	found = append(found, client.PollFetches(brief).Records()...)
	return found, equal(len(found), count, "the number of records")
}

func values(records []*kgo.Record) string {
	var all []string
	for _, each := range records {
		all = append(all, string(each.Value))
	}
	return strings.Join(all, " ")
}
