package main

import (
	"context"
	"fmt"
	"time"

	"github.com/segmentio/kafka-go"
)

const describedPartitions = 2

// administration is what the library does with groups and with the cluster.
type administration struct {
	*world
	topicName, group string
}

func walkAdministration(w *world, report reporter) {
	a := &administration{world: w, group: w.name("described")}
	one, err := a.member(context.Background())
	if err != nil {
		panic(err)
	}
	report.step("list_groups", a.list)
	report.step("describe_group", a.describe)
	report.step("describe_group_unknown", a.describeUnknown)
	report.step("delete_group_nonempty", a.deleteGroup(a.group))
	one.leave()
	report.step("delete_group", a.delete)
	report.step("delete_group_unknown", a.deleteGroup(w.name("unknown")))
	report.step("elect_leaders", a.elect)
	report.step("list_reassignments", a.reassignments)
	report.step("acls", a.acls)
	report.step("quotas", a.quotas)
	report.step("scram", a.scram)
}

// member joins and stays, by its heartbeats, while the steps look at it.
func (a *administration) member(ctx context.Context) (*member, error) {
	topic, err := a.topic(ctx, "described", describedPartitions)
	if err != nil {
		return nil, err
	}
	a.topicName = topic
	if err := a.fill(ctx, topic, 0, 10); err != nil {
		return nil, err
	}
	one, err := join(a.world, a.group, topic)
	if err != nil {
		return nil, err
	}
	if err := until(ctx, "all partitions", one.has(describedPartitions)); err != nil {
		return nil, err
	}
	return one, one.commit(map[int]int64{0: 3, 1: 2})
}

// listed tells whether any broker lists the group; the library asks one broker at a time.
func (a *administration) listed(ctx context.Context) (bool, error) {
	cluster, err := a.client.Metadata(ctx, &kafka.MetadataRequest{})
	if err != nil {
		return false, err
	}
	for _, broker := range cluster.Brokers {
		all, err := a.client.ListGroups(ctx, &kafka.ListGroupsRequest{
			Addr: kafka.TCP(fmt.Sprintf("%s:%d", broker.Host, broker.Port)),
		})
		if err != nil || all.Error != nil {
			return false, firstOf(err, all.Error)
		}
		for _, each := range all.Groups {
			if each.GroupID == a.group {
				return true, nil
			}
		}
	}
	return false, nil
}

func (a *administration) list(ctx context.Context) (string, error) {
	found, err := a.listed(ctx)
	return "", firstOf(err, equal(found, true, "whether it is listed"))
}

func (a *administration) description(ctx context.Context, group string) (kafka.DescribeGroupsResponseGroup, error) {
	all, err := a.client.DescribeGroups(ctx, &kafka.DescribeGroupsRequest{GroupIDs: []string{group}})
	if err != nil {
		return kafka.DescribeGroupsResponseGroup{}, err
	}
	return all.Groups[0], all.Groups[0].Error
}

func (a *administration) describe(ctx context.Context) (string, error) {
	found, err := a.description(ctx, a.group)
	if err != nil {
		return "", err
	}
	if err := equal(len(found.Members), 1, "the number of members"); err != nil {
		return "", err
	}
	one := found.Members[0]
	return "", firstOf(
		equal(found.GroupState, "Stable", "the state"),
		equal(one.ClientID, "someone", "the member's client id"),
		equal(one.ClientHost, "/127.0.0.1", "its host"),
		equal(len(one.MemberAssignments.Topics), 1, "the number of its topics"),
		equal(len(one.MemberAssignments.Topics[0].Partitions), describedPartitions, "the number of its partitions"),
	)
}

func (a *administration) describeUnknown(ctx context.Context) (string, error) {
	found, err := a.description(ctx, a.name("unknown"))
	return "state " + found.GroupState, err
}

func (a *administration) deleteGroup(group string) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		done, err := a.client.DeleteGroups(ctx, &kafka.DeleteGroupsRequest{GroupIDs: []string{group}})
		if err != nil {
			return "", err
		}
		return "", done.Errors[group]
	}
}

func (a *administration) delete(ctx context.Context) (string, error) {
	done, err := a.client.OffsetDelete(ctx, &kafka.OffsetDeleteRequest{
		GroupID: a.group, Topics: map[string][]int{a.topicName: {0}},
	})
	if err != nil || done.Error != nil || done.Topics[a.topicName][0].Error != nil {
		return "", firstOf(err, done.Error, done.Topics[a.topicName][0].Error)
	}
	if _, err := a.deleteGroup(a.group)(ctx); err != nil {
		return "", err
	}
	return "and OffsetDelete", until(ctx, "gone", func() (bool, error) {
		found, err := a.listed(ctx)
		return !found, err
	})
}

func (a *administration) elect(ctx context.Context) (string, error) {
	done, err := a.client.ElectLeaders(ctx, &kafka.ElectLeadersRequest{
		Topic: a.topicName, Partitions: []int{0}, Timeout: 10 * time.Second,
	})
	if err != nil {
		return "", err
	}
	return "", firstOf(done.Error, done.PartitionResults[0].Error)
}

func (a *administration) reassignments(ctx context.Context) (string, error) {
	found, err := a.client.ListPartitionReassignments(ctx, &kafka.ListPartitionReassignmentsRequest{Timeout: 10 * time.Second})
	if err != nil {
		return "", err
	}
	return "", firstOf(found.Error, equal(len(found.Topics), 0, "the number of topics under way"))
}

func (a *administration) acls(ctx context.Context) (string, error) {
	found, err := a.client.DescribeACLs(ctx, &kafka.DescribeACLsRequest{Filter: kafka.ACLFilter{
		ResourceTypeFilter: kafka.ResourceTypeAny, ResourcePatternTypeFilter: kafka.PatternTypeAny,
		Operation: kafka.ACLOperationTypeAny, PermissionType: kafka.ACLPermissionTypeAny,
	}})
	if err != nil {
		return "", err
	}
	return "", found.Error
}

func (a *administration) quotas(ctx context.Context) (string, error) {
	found, err := a.client.DescribeClientQuotas(ctx, &kafka.DescribeClientQuotasRequest{})
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%d quotas", len(found.Entries)), found.Error
}

func (a *administration) scram(ctx context.Context) (string, error) {
	user := kafka.UserScramCredentialsUser{Name: a.name("user")}
	found, err := a.client.DescribeUserScramCredentials(ctx, &kafka.DescribeUserScramCredentialsRequest{
		Users: []kafka.UserScramCredentialsUser{user},
	})
	if err != nil {
		return "", err
	}
	return "", firstOf(found.Error, found.Results[0].Error)
}
