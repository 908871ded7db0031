import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.apache.hadoop.conf.Configuration;
import org.apache.iceberg.PartitionSpec;
import org.apache.iceberg.Schema;
import org.apache.iceberg.catalog.TableIdentifier;
import org.apache.iceberg.hadoop.HadoopCatalog;
import org.apache.iceberg.types.Type;
import org.apache.iceberg.types.Types;

/** Creates an Iceberg table: CreateTable WAREHOUSE TABLE ZSTD_LEVEL NAME:KIND... */
public final class CreateTable {
    public static void main(String[] arguments) throws Exception {
        List<Types.NestedField> fields = new ArrayList<>();
        // Ids above those of all columns are for the elements of lists.
        int element = 1_000;
        for (int index = 3; index < arguments.length; index++) {
            String[] column = arguments[index].split(":");
            Type type = switch (column[1]) {
                case "time" -> Types.TimestampType.withZone();
                case "int64" -> Types.LongType.get();
                case "float64" -> Types.DoubleType.get();
                case "texts" -> Types.ListType.ofOptional(element++, Types.StringType.get());
                case "floats" -> Types.ListType.ofOptional(element++, Types.DoubleType.get());
                default -> Types.StringType.get();
            };
            fields.add(Types.NestedField.optional(index, column[0], type));
        }
        Map<String, String> properties = Map.of(
            "write.parquet.compression-codec", "zstd",
            "write.parquet.compression-level", arguments[2]);
        try (HadoopCatalog catalog = new HadoopCatalog(new Configuration(), arguments[0])) {
            catalog.createTable(
                TableIdentifier.parse(arguments[1]), new Schema(fields), PartitionSpec.unpartitioned(), properties);
        }
    }
}
