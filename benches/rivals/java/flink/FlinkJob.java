import org.apache.flink.configuration.Configuration;
import org.apache.flink.table.api.EnvironmentSettings;
import org.apache.flink.table.api.TableEnvironment;

/** Runs SQL in a Flink inside this process: FlinkJob SETTING=VALUE... -- STATEMENT... */
public final class FlinkJob {
    public static void main(String[] arguments) throws Exception {
        Configuration configuration = new Configuration();
        int index = 0;
        for (; !arguments[index].equals("--"); index++) {
            String[] setting = arguments[index].split("=", 2);
            configuration.setString(setting[0], setting[1]);
        }
        TableEnvironment tables = TableEnvironment.create(
            EnvironmentSettings.newInstance().inStreamingMode().withConfiguration(configuration).build());
        for (index++; index < arguments.length; index++) {
            tables.executeSql(arguments[index]).await();
        }
    }
}
